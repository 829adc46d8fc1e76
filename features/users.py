"""Users: what each one amounts to, and flags for bots and very heavy users.

A flag looks at the user alone, never at a quantile over others, so that it does not change when other
users arrive. Flagged users stay in the data.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.block import EventBlock
from features.carried import first_going_on, places
from features.durations import UNITS_US

HEAVY: Final = 1
FAST: Final = 2
SLEEPLESS: Final = 4
REASONS: Final = {HEAVY: "heavy", FAST: "fast", SLEEPLESS: "sleepless"}
"""Bits of ``UserRows.reason``."""


@dataclass(frozen=True)
class UserRule:
    """When a user is flagged; all limits are our choice.

    ``heavy``: more than ``max_events`` events. ``fast``, a bot: at least ``fast_gaps`` gaps above zero, half
    of them or more at most ``fast_gap_us``, hence a median that no reader keeps up (a gap of zero is a basket
    or a coarse clock and says nothing). ``sleepless``, a bot: activity without a pause longer than
    ``pause_us`` that spans more than ``awake_us``. ``has_clock=False``: only ``heavy`` can be decided.
    """

    max_events: int = 50_000
    fast_gap_us: int = UNITS_US["s"]
    fast_gaps: int = 200
    pause_us: int = 30 * UNITS_US["min"]
    awake_us: int = 24 * UNITS_US["h"]
    has_clock: bool = True

    def __post_init__(self) -> None:
        for name in ("max_events", "fast_gap_us", "fast_gaps", "pause_us", "awake_us"):
            if getattr(self, name) < 1:
                raise ValueError(f"user rule: {name} = {getattr(self, name)} must be at least 1")


@dataclass(frozen=True)
class UserStates:
    """The fold's memory of U users that go on; of constant size each."""

    user_ids: list[str]  # U
    first_ts: NDArray[np.int64]  # µs
    last_ts: NDArray[np.int64]  # µs
    awake_since: NDArray[np.int64]  # µs, first event since the last pause
    sleepless: NDArray[np.bool_]
    n_gaps: NDArray[np.int64]  # gaps above zero
    n_fast: NDArray[np.int64]  # of those, at most fast_gap_us

    def take(self, which: NDArray[np.int64]) -> "UserStates":
        """The chosen users' states."""
        return UserStates([self.user_ids[at] for at in which], *(column[which] for column in self.columns()))

    def columns(self) -> tuple[NDArray[Any], ...]:
        """All but the ids, as they stand above."""
        return self.first_ts, self.last_ts, self.awake_since, self.sleepless, self.n_gaps, self.n_fast

    @staticmethod
    def concat(parts: Sequence["UserStates"]) -> "UserStates":
        """States of all parts' users, one after the other."""
        columns = zip(*(part.columns() for part in parts), strict=True)
        ids = [user for part in parts for user in part.user_ids]
        return UserStates(ids, *(np.concatenate(column) for column in columns))


@dataclass(frozen=True)
class UserRows:
    """U users, one place each in every array."""

    user_ids: list[str]  # U
    n_events: NDArray[np.int32]
    n_sessions: NDArray[np.int32]
    first_ts: NDArray[np.int64]  # µs
    last_ts: NDArray[np.int64]  # µs
    reason: NDArray[np.int32]  # sum of the bits that apply; 0: unflagged

    @property
    def is_heavy(self) -> NDArray[np.bool_]:
        """More events than the rule allows; shape (U,)."""
        return (self.reason & HEAVY) > 0

    @property
    def is_bot(self) -> NDArray[np.bool_]:
        """Too fast or too long awake for a person; shape (U,)."""
        return (self.reason & (FAST | SLEEPLESS)) > 0


def summarise_users(
    state: UserStates | None, block: EventBlock, rule: UserRule, *, everyone_goes_on: bool = False
) -> tuple[UserRows, UserStates | None]:
    """One step of the fold: rows of the users that end in this block, and the state of those that do not.

    ``state`` is of users who began before this block: what the block before returned, or was kept of earlier
    days; ValueError where it is not of users of the block. ``everyone_goes_on``: none ends here.
    """
    ts, starts = block.ts, block.offsets[:-1]
    ends = block.offsets[1:] - 1  # each user's last event
    known = places(state.user_ids if state else None, block)
    gaps = np.diff(ts, prepend=ts[0])
    gaps[starts] = 0  # a user's first event has no gap
    if state:
        gaps[starts[known]] = ts[starts[known]] - state.last_ts

    first_ts = ts[starts]
    n_gaps = _count(gaps > 0, starts)
    n_fast = _count((gaps > 0) & (gaps <= rule.fast_gap_us), starts)
    awake, sleepless = _awake(gaps, block, rule, known, state)
    if state:
        first_ts[known] = state.first_ts
        n_gaps[known] += state.n_gaps
        n_fast[known] += state.n_fast
        sleepless[known] |= state.sleepless

    n_events = block.ordinal[ends]
    fast = (n_gaps >= rule.fast_gaps) & (2 * n_fast >= n_gaps)
    bits = HEAVY * (n_events > rule.max_events)
    if rule.has_clock:
        bits = bits + FAST * fast + SLEEPLESS * sleepless
    done = first_going_on(block, everyone_goes_on)
    rows = UserRows(
        user_ids=block.user_ids[:done],
        n_events=n_events[:done],
        n_sessions=block.session[ends][:done],
        first_ts=first_ts[:done],
        last_ts=ts[ends][:done],
        reason=bits[:done].astype(np.int32),
    )
    if done == len(starts):
        return rows, None
    return rows, UserStates(
        user_ids=block.user_ids[done:],
        first_ts=first_ts[done:],
        last_ts=ts[ends][done:],
        awake_since=awake[done:],
        sleepless=sleepless[done:],
        n_gaps=n_gaps[done:],
        n_fast=n_fast[done:],
    )


def user_rows(blocks: Iterable[EventBlock], rule: UserRule) -> Iterator[UserRows]:
    """Rows of all users of a stream of blocks; a user cut across blocks comes with its last one."""
    state: UserStates | None = None
    for block in blocks:
        rows, state = summarise_users(state, block, rule)
        yield rows


def reasons(reason: int) -> list[str]:
    """The names of the flags in a reason.

    >>> reasons(5)
    ['heavy', 'sleepless']
    """
    return [name for bit, name in REASONS.items() if reason & bit]


def _count(which: NDArray[np.bool_], starts: NDArray[np.int64]) -> Any:
    return np.add.reduceat(which.astype(np.int64), starts)


def _awake(
    gaps: NDArray[np.int64],
    block: EventBlock,
    rule: UserRule,
    known: NDArray[np.int64],
    state: UserStates | None,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Per user the start (µs) of the last stretch without a pause, and whether one stretch is too long."""
    first = block.offsets[:-1]
    begins = gaps > rule.pause_us
    since = block.ts.copy()  # where a stretch begins: its first event's time
    if state:
        went_on = ~begins[first[known]]
        since[first[known[went_on]]] = state.awake_since[went_on]
    begins[first] = True
    starts = np.flatnonzero(begins)
    until = block.ts[np.append(starts[1:], block.size) - 1]
    sleepless: NDArray[np.bool_] = np.zeros(len(first), dtype=bool)
    long = starts[until - since[starts] > rule.awake_us]
    sleepless[np.searchsorted(block.offsets, long, side="right") - 1] = True
    last = starts[np.searchsorted(starts, block.offsets[1:]) - 1]
    return since[last], sleepless
