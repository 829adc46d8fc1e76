"""The profile of an unknown log: sample, guesses, figures, in one pass that a person waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipelines.errors import SourceError
from pipelines.profile.batches import Layout
from pipelines.profile.clock import WindowGuess, guess_window, iso, resolution, to_microseconds
from pipelines.profile.figures import Figures, measure
from pipelines.profile.files import find_files
from pipelines.profile.guess import Columns, Facts, Guess, guess_columns
from pipelines.profile.names import guess_mode
from pipelines.profile.report import profile_text, profile_toml
from pipelines.profile.sample import SCAN_ROWS, Sample, guess_layout, read_head, read_users


@dataclass(frozen=True)
class ColumnProfile:
    """A column of the first rows: distinct values and nulls counted there."""

    name: str
    role: str | None
    unique: int
    nulls_share: float
    example: str


@dataclass(frozen=True)
class TypeProfile:
    """An event type, its rows in the sample and the mode proposed; ``sure`` is False for a mere default."""

    name: str
    rows: int
    mode: str
    sure: bool


@dataclass(frozen=True)
class Profile:
    """What a log seems to hold; ``to_toml`` is a config to start from that load_config accepts."""

    path: str
    layout: Layout
    files: int
    rows_scanned: int
    complete: bool
    user_share: float
    faults: dict[str, int]
    columns: tuple[ColumnProfile, ...]
    guesses: tuple[Guess, ...]
    roles: dict[str, str]
    ts_unit: str
    clock: str
    resolution: str
    event_types: tuple[TypeProfile, ...]
    window: WindowGuess | None
    unusable: dict[str, int]
    figures: Figures
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain figures and guesses, times as ISO text, and the proposed config's text under ``config``."""
        plain = asdict(self)
        for name in ("first_ts", "last_ts"):
            plain["figures"][name] = iso(plain["figures"][name])
        if self.window is not None:
            plain["window"] |= {"start": iso(self.window.start), "end": iso(self.window.end)}
        return plain | {"config": self.to_toml()}

    def to_text(self) -> str:
        """A profile that a person reads, ending without a line break."""
        return profile_text(self)

    def to_toml(self) -> str:
        """The proposed config, with the reason beside each guess."""
        return profile_toml(self)


def profile_source(path: str, format: str | None = None, *, columns: Mapping[str, str] | None = None,  # noqa: A002
                   field_names: Sequence[str] | None = None) -> Profile:  # fmt: skip
    """Profile a file, a folder or a Delta table of events from a bounded sample of whole users.

    ``columns`` (ours = theirs) and ``field_names`` (of a csv without header) are taken as known.
    Raises SourceError in one line where it cannot be read or its columns cannot be told.
    """
    found = find_files(path, format)
    layout = guess_layout(found, field_names)
    first = read_head(found, layout)
    guessed = guess_columns(first.frame, str(path), columns)
    sample = first
    if not first.complete:
        used = sorted(set(guessed.by_role.values()))
        sample = read_users(found, layout, guessed.by_role["user_id"], used, SCAN_ROWS[layout.format])
    events, ts, unusable = _usable(sample.frame, guessed, str(path))
    real = guessed.clock == "real"
    window = guess_window(ts) if real else None
    inside = np.ones(len(ts), dtype=bool)
    if window is not None:
        inside = (ts >= window.start) & (ts < window.end)
    grid = resolution(ts[inside]) if real else "none"
    clock = "ordinal" if not real or grid == "d" else "real"

    def column(role: str) -> pd.Series[Any] | None:
        return events.loc[inside, guessed.by_role[role]] if role in guessed.by_role else None

    user, item = column("user_id"), column("item_id")
    assert user is not None and item is not None  # guess_columns raises where it finds none
    roles = {theirs: role for role, theirs in guessed.by_role.items()}
    return Profile(
        path=str(path),
        layout=layout,
        files=len(found.files),
        rows_scanned=sample.scanned,
        complete=sample.complete,
        user_share=sample.user_share,
        faults=sample.faults,
        columns=tuple(_column(facts, roles.get(name)) for name, facts in guessed.facts.items()),
        guesses=guessed.guesses,
        roles=guessed.by_role,
        ts_unit=guessed.ts_unit,
        clock=clock,
        resolution=grid,
        event_types=_types(sample, guessed),
        window=window,
        unusable=unusable,
        figures=measure(
            user,
            item,
            column("event_type"),
            ts[inside],
            session=column("session_key"),
            real_clock=clock == "real",
        ),
        notes=(*found.notes, *guessed.notes, *_notes(sample, grid)),
    )


def _usable(
    frame: pd.DataFrame, guessed: Columns, where: str
) -> tuple[pd.DataFrame, np.ndarray[Any, Any], dict[str, int]]:
    """Rows with a user, an item and a readable time, their times, and how many others there were."""
    time = frame[guessed.by_role["ts"]]
    ts, readable = to_microseconds(time, guessed.ts_unit)
    nameless = frame[[guessed.by_role["user_id"], guessed.by_role["item_id"]]].isna().any(axis=1).to_numpy()
    keep = readable & ~nameless
    if not keep.any():
        raise SourceError(f"{where}: no row has a user, an item and a readable time")
    counts = {"unreadable time": int((~readable).sum()), "null user or item": int(nameless.sum())}
    return frame[keep], ts[keep], {reason: count for reason, count in counts.items() if count}


def _column(facts: Facts, role: str | None) -> ColumnProfile:
    nulls = facts.nulls / max(1, len(facts.codes))
    return ColumnProfile(facts.name, role, facts.unique, nulls, facts.example[:40])


def _types(sample: Sample, guessed: Columns) -> tuple[TypeProfile, ...]:
    if "event_type" not in guessed.by_role:
        return ()
    counts = sample.frame[guessed.by_role["event_type"]].dropna().astype(str).value_counts()
    pairs = [(str(name), int(count)) for name, count in counts.items()]
    return tuple(
        TypeProfile(name, count, guess_mode(name) or "browse", guess_mode(name) is not None)
        for name, count in sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
    )


def _notes(sample: Sample, grid: str) -> list[str]:
    notes = []
    if sample.user_share < 1:
        notes.append(
            f"figures are of whole users drawn by a hash ({sample.user_share:.1%} of the users): rare event "
            "types may be missing"
        )
    if not sample.complete:
        notes.append(
            f"only the first {sample.scanned:,} rows were read: in a log ordered by time, users' later "
            "events are missing, so histories look shorter and the time span narrower than they are"
        )
    if grid == "d":
        notes.append(
            "all times lie on days: they give an order but no gaps, so sessions are cut every N events"
        )
    elif grid in ("h", "min"):
        notes.append(f"the clock ticks once per {grid}: gaps shorter than that cannot be told apart")
    return notes
