"""Which column of an unknown log is what: by its name, and by how its values behave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from features.durations import UNITS_US
from pipelines.errors import SourceError
from pipelines.profile.clock import TimeGuess, guess_time, to_microseconds
from pipelines.profile.names import EXACT, ORDER_NAMES, guess_mode, name_score, tokens

NEARBY_US: Final = 30 * UNITS_US["min"]
_MAX_TYPES: Final = 50
_ENOUGH: Final = 0.15  # of closeness in time, or half a name
ROLES: Final = tuple(EXACT)


@dataclass(frozen=True)
class Guess:
    """One guessed setting, how sure it is (high, medium, low, given) and why."""

    key: str
    value: str
    confidence: str
    reason: str


@dataclass(frozen=True)
class Facts:
    """One column of the sample: ``codes [n]`` number its distinct values (-1 null)."""

    name: str
    codes: np.ndarray[Any, Any]
    unique: int
    nulls: int
    example: str
    number: bool
    whole: bool
    time: TimeGuess | None

    @property
    def unique_share(self) -> float:
        """Distinct values per row."""
        return self.unique / max(1, len(self.codes))


@dataclass(frozen=True)
class Columns:
    """The facts of all columns, the guessed ones by role, the time unit, and a Guess for each decision."""

    facts: dict[str, Facts]
    by_role: dict[str, str]
    ts_unit: str  # s, ms, us, iso
    clock: str  # real, ordinal
    guesses: tuple[Guess, ...]
    notes: tuple[str, ...]


def describe(column: pd.Series[Any]) -> Facts:
    """The facts of a column that guesses are made of."""
    codes, values = pd.factorize(column)
    known = pd.Series(values[:: max(1, len(values) // 5_000)])
    is_time = pd.api.types.is_datetime64_any_dtype(column.dtype)
    numbers = known if is_time else pd.to_numeric(known, errors="coerce")
    number = not is_time and len(known) > 0 and float(numbers.notna().mean()) >= 0.95
    whole = number and bool((numbers.dropna() % 1 == 0).all())
    example = str(known.iloc[0]) if len(known) else ""
    nulls = int((codes < 0).sum())
    return Facts(str(column.name), codes, len(values), nulls, example, number, whole, guess_time(column))


def guess_columns(frame: pd.DataFrame, where: str, given: Mapping[str, str] | None = None) -> Columns:
    """Assign roles to the columns of a sample; ``given`` (role = column) is taken as it is.

    Raises SourceError where no column can be the user, the item or the time, naming those that exist.
    """
    given = dict(given or {})
    for role, name in given.items():
        if role not in ROLES or name not in frame.columns:
            raise SourceError(f"{where}: no column {name!r} for {role}; columns: {', '.join(frame.columns)}")
    facts = {str(name): describe(frame[name]) for name in frame.columns}
    picker = _Picker(facts, given, where)
    time = picker.pick_ts()
    if time is None:
        ts = (
            np.arange(len(frame), dtype=np.int64) * UNITS_US["min"]
        )  # the order of the rows, for want of times
        readable = np.ones(len(frame), dtype=bool)
    else:
        ts, readable = to_microseconds(frame[picker.taken["ts"]], time.unit)
    for role in ("event_type", "session_key", "event_id", "sequence"):
        picker.pick_by_name(role, frame)
    picker.pick_user(ts, readable)
    picker.pick_item()
    picker.pick_category()
    return Columns(
        facts, dict(picker.taken), time.unit if time else "s", "real" if time else "ordinal",
        tuple(picker.guesses), tuple(picker.notes),
    )  # fmt: skip


class _Picker:
    """Takes columns away, role by role, and writes down why."""

    def __init__(self, facts: Mapping[str, Facts], given: Mapping[str, str], where: str) -> None:
        self.facts = facts
        self.where = where
        self.given = given
        self.taken: dict[str, str] = {}
        self.guesses: list[Guess] = []
        self.notes: list[str] = []
        self.unnamed = all(name.startswith("column_") for name in facts)

    def free(self) -> list[Facts]:
        """Columns without a role, neither taken nor given."""
        used = {*self.taken.values(), *self.given.values()}
        return [fact for fact in self.facts.values() if fact.name not in used]

    def take(self, role: str, fact: Facts, confidence: str, reason: str) -> None:
        self.taken[role] = fact.name
        self.guesses.append(Guess(role, fact.name, confidence, reason))

    def take_given(self, role: str) -> bool:
        if role not in self.given:
            return False
        self.take(role, self.facts[self.given[role]], "given", "given with --set or the config")
        return True

    def fail(self, role: str, why: str) -> SourceError:
        return SourceError(
            f"{self.where}: no column looks like {role} ({why}); columns: {', '.join(self.facts)}; "
            f"name it with --set source.columns.{role}=COLUMN"
        )

    def pick_ts(self) -> TimeGuess | None:
        """The time column and its unit; None where a column gives only an order."""
        if self.take_given("ts"):
            return self._usable(self.facts[self.given["ts"]])
        times = [fact for fact in self.free() if fact.time is not None and "id" not in tokens(fact.name)]
        best = max(times, key=lambda fact: _time_score(fact, self.unnamed), default=None)
        if best is not None and best.time is not None:
            named = name_score("ts", best.name) >= 0.5
            others = [fact.name for fact in times if fact is not best]
            sure = "high" if named or (self.unnamed and not others) else "medium"
            also = f"; {', '.join(others)} would read as times too" if others else ""
            reason = f"{best.time.share:.1%} of it are times from 2000 to 2040 in {best.time.unit}{also}"
            self.take("ts", best, sure, reason)
            return self._usable(best)
        for fact in self.free():
            if fact.number and "".join(tokens(fact.name)) in ORDER_NAMES:
                self.take("ts", fact, "low", "its name; its numbers are no times, so only an order is read")
                return None
        raise self.fail("ts", "none holds unix times from 2000 to 2040 or ISO dates")

    def _usable(self, fact: Facts) -> TimeGuess | None:
        if fact.time is None:
            if fact.number:
                return None
            raise SourceError(
                f"{self.where}: column {fact.name} holds {fact.example!r}, which is not a time; "
                "map another column to ts"
            )
        if fact.time.unit in ("other", "ns"):
            what = "nanoseconds" if fact.time.unit == "ns" else "dates that are not ISO 8601"
            raise SourceError(
                f"{self.where}: column {fact.name} holds {what} ({fact.example!r}); rewrite them as "
                "2017-11-25T10:00:00Z, or as unix s, ms or us"
            )
        return fact.time

    def pick_by_name(self, role: str, frame: pd.DataFrame) -> None:
        """A role that a column's name decides; its values only confirm it."""
        if self.take_given(role):
            return
        scored = [(score, fact) for fact in self.free() if (score := _role_score(role, fact, frame)) >= 0.5]
        if not scored:
            return
        score, fact = max(scored, key=lambda pair: pair[0])
        reason = {
            "event_type": f"{fact.unique} distinct values, such as {fact.example!r}",
            "session_key": f"its name; {fact.unique} distinct values",
            "event_id": "its name; no value occurs twice",
            "sequence": "its name; it breaks ties in time",
        }[role]
        self.take(role, fact, "high" if score >= 0.9 else "medium", reason)

    def pick_user(self, ts: np.ndarray[Any, Any], readable: np.ndarray[Any, Any]) -> None:
        """The column whose values have their events close together in time (people come in sessions)."""
        if self.take_given("user_id"):
            return
        scored = []
        for fact in self.free():
            name = name_score("user_id", fact.name)
            if fact.unique == 0 or (fact.number and not fact.whole) or (fact.time is not None and name < 0.5):
                continue
            lift = closeness(fact.codes, ts, readable)
            scored.append((name + 0.6 * max(0.0, lift), name, lift, fact))
        scored.sort(key=lambda row: -row[0])
        if not scored or (scored[0][1] < 0.5 and scored[0][2] < _ENOUGH):
            raise self.fail("user_id", "no name says so, and no column's events lie close together in time")
        score, name, lift, fact = scored[0]
        if name < 0.5:  # of two columns that come in sessions, the finer one is the session
            for _, _, wider_lift, wider in scored[1:]:
                shares_in = 0.2 * fact.unique <= wider.unique < fact.unique
                if shares_in and wider_lift >= 0.5 * lift and depends(fact.codes, wider.codes)[0] >= 0.99:
                    self.take("session_key", fact, "low", f"each of its values has one {wider.name}")
                    fact, lift = wider, wider_lift
                    break
        ahead = score - scored[1][0] if len(scored) > 1 else 1.0
        sure = "high" if name >= 0.9 else "medium" if name >= 0.5 or ahead >= 0.15 else "low"
        why = f"its events lie within 30 min of each other {lift:+.0%} more often than by chance"
        heard = [text for text, told in (("its name", name >= 0.5), (why, lift >= _ENOUGH)) if told]
        self.take("user_id", fact, sure, "; ".join(heard or [why]))

    def pick_item(self) -> None:
        """The column with the most distinct values that is no attribute of the user."""
        if self.take_given("item_id"):
            return
        user = self.facts[self.taken["user_id"]]
        scored = []
        for fact in self.free():
            name = name_score("item_id", fact.name)
            blurred = (fact.number and not fact.whole) or fact.time is not None
            if fact.unique == 0 or (name < 0.5 and (blurred or fact.unique < 3)):
                continue
            attribute = name < 0.5 and depends(user.codes, fact.codes)[0] >= 0.99
            row_number = name < 0.5 and fact.unique_share > 0.999 and len(fact.codes) > 1_000
            if attribute or row_number or (name < 0.5 and not self.unnamed):
                continue
            spread = math.log(1 + fact.unique) / math.log(2 + len(fact.codes))
            scored.append((name + 0.4 * spread, name, fact))
        if not scored:
            raise self.fail("item_id", "no name says so")
        _, name, fact = max(scored, key=lambda row: row[0])
        sure = "high" if name >= 0.9 else "medium"
        why = f"{fact.unique:,} distinct values, not bound to the user"
        self.take("item_id", fact, sure, f"its name; {why}" if name >= 0.5 else why)

    def pick_category(self) -> None:
        """A column that the item determines and that is coarser than it."""
        if self.take_given("category_id"):
            return
        item = self.facts[self.taken["item_id"]]
        scored, bound = [], []
        for fact in self.free():
            if not 2 <= fact.unique < 0.95 * item.unique:
                continue
            share, repeated = depends(item.codes, fact.codes)
            name = name_score("category_id", fact.name)
            follows = share >= 0.95 and repeated >= 20
            if name >= 0.5 or (follows and self.unnamed and not (fact.number and not fact.whole)):
                scored.append((name + share * (repeated >= 20), fact.unique, name, share, fact))
            elif follows:
                bound.append(fact.name)
        if bound:
            self.notes.append(f"the item also determines {', '.join(bound)} (none is named like a category)")
        if not scored:
            return
        _, _, name, share, fact = max(scored, key=lambda row: row[:2])
        sure = "high" if name >= 0.9 and share >= 0.95 else "medium" if share >= 0.95 else "low"
        why = f"{share:.1%} of the repeated items' events agree on it; {fact.unique:,} distinct values"
        self.take("category_id", fact, sure, f"its name; {why}" if name >= 0.5 else why)


def _time_score(fact: Facts, unnamed: bool) -> float:
    """A name that says time, else the finest of the columns that read as times."""
    finest = min(1.0, math.log(1 + fact.unique) / math.log(2 + len(fact.codes)))
    return (0 if unnamed else 2 * name_score("ts", fact.name)) + finest


def _role_score(role: str, fact: Facts, frame: pd.DataFrame) -> float:
    name = name_score(role, fact.name)
    if role == "event_type":
        if not 1 <= fact.unique <= _MAX_TYPES or (fact.number and not fact.whole) or fact.time is not None:
            return 0.0
        counts = frame[fact.name].dropna().astype(str).value_counts(normalize=True)
        known = sum(float(share) for value, share in counts.items() if guess_mode(str(value)))
        return max(name, 0.5 + 0.4 * known if known >= 0.5 else 0.0)
    if role == "event_id":
        return name if fact.nulls == 0 and fact.unique == len(fact.codes) else 0.0
    if role == "sequence":
        return name if fact.whole else 0.0
    return name if fact.unique > 1 else 0.0


def closeness(codes: np.ndarray[Any, Any], ts: np.ndarray[Any, Any], readable: np.ndarray[Any, Any]) -> float:
    """Share of events with an earlier one of the same value at most 30 min before, less its value by chance.

    Chance is the same with times dealt out anew: values that are merely frequent gain nothing.
    """
    use = readable & (codes >= 0)
    if use.sum() < 2:
        return 0.0
    codes, ts = codes[use], ts[use]
    dealt = ts[np.random.default_rng(0).permutation(len(ts))]
    return _near(codes, ts) - _near(codes, dealt)


def _near(codes: np.ndarray[Any, Any], ts: np.ndarray[Any, Any]) -> float:
    order = np.lexsort((ts, codes))
    same = codes[order][1:] == codes[order][:-1]
    near = ts[order][1:] - ts[order][:-1] <= NEARBY_US
    return float((same & near).sum() / len(codes))


def depends(key: np.ndarray[Any, Any], value: np.ndarray[Any, Any]) -> tuple[float, int]:
    """``(share, repeated)``: events of keys that occur again agreeing with their key's commonest value.

    1.0 where the value is a function of the key; ``repeated`` is the number of events counted, 0 where
    no key occurs twice (then the share is 0: nothing is known).
    """
    use = (key >= 0) & (value >= 0)
    key, value = key[use].astype(np.int64), value[use].astype(np.int64)
    if not len(key):
        return 0.0, 0
    size = np.bincount(key)
    again = size[key] >= 2
    key, value = key[again], value[again]
    if not len(key):
        return 0.0, 0
    pair, counts = np.unique(key * (value.max() + 1) + value, return_counts=True)
    owner = pair // (value.max() + 1)
    commonest = np.zeros(len(size), dtype=np.int64)
    np.maximum.at(commonest, owner, counts)
    return float(commonest.sum() / len(key)), len(key)
