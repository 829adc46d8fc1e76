"""Themes, hops and returns of a block of events under one fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.block import EventBlock
from features.carried import first_going_on, places
from features.codes import FIRST_INDEX, MODE_CODES, NO_THEME
from features.hops import (
    HopNull,
    SessionVectors,
    boundary_sides,
    class_pair,
    cosine_distance,
)
from features.returns import NOTHING_SEEN, ThemesSeen, find_returns
from features.themes import running_themes
from features.vectors import LONGEST, SOURCE_CATEGORY, SOURCE_ITEM, SOURCE_NONE, VectorTable, quantise

_MODE_COLUMNS = {f"n_{mode}": code for mode, code in MODE_CODES.items()}
_SOURCE_COLUMNS = {
    "n_vectors_item": SOURCE_ITEM,
    "n_vectors_category": SOURCE_CATEGORY,
    "n_vectors_none": SOURCE_NONE,
}


def sessions_arrow_schema() -> pa.Schema:
    """Columns of ``silver/sessions``; null in the last six means undecided (or no distance)."""
    instant = pa.timestamp("us", tz="UTC")
    counts = [*_MODE_COLUMNS, "first_event_id", "theme_id", "has_interest", *_SOURCE_COLUMNS]
    special = {"first_event_id": pa.string(), "has_interest": pa.bool_()}
    return pa.schema(
        [
            ("session_id", pa.string()),
            ("user_id", pa.string()),
            ("ordinal", pa.int32()),
            ("start_ts", instant),
            ("end_ts", instant),
            ("n_events", pa.int32()),
            *((name, special.get(name, pa.int32())) for name in counts),
            ("hop_distance", pa.float64()),
            ("hop_p", pa.float64()),
            ("hop_score", pa.float64()),
            ("is_hop", pa.bool_()),
            ("is_return", pa.bool_()),
            ("return_lag", pa.int32()),
        ]
    )


@dataclass(frozen=True)
class Themes:
    """What a fit learned and theme tags need: vectors and themes."""

    table: VectorTable
    centroids: NDArray[np.float64]  # (K, D), unit vectors on the grid
    theme_ids: NDArray[np.int32]  # (K,), ascending, from 2

    def __post_init__(self) -> None:
        if self.centroids.shape != (len(self.theme_ids), self.table.dim):
            raise ValueError(f"centroids have shape {self.centroids.shape}, not (themes, {self.table.dim})")
        if (quantise(self.centroids) != self.centroids).any():
            raise ValueError("centroids are not multiples of 2^-16; pass them through unit()")
        if (np.abs(np.linalg.norm(self.centroids, axis=1) - 1) > LONGEST - 1).any():
            raise ValueError("centroids must have length one; pass them through unit()")
        if (np.diff(self.theme_ids) <= 0).any() or (self.theme_ids < FIRST_INDEX).any():
            raise ValueError("theme ids must ascend from 2 on")


@dataclass(frozen=True)
class FittedThemes(Themes):
    """Themes, and what the hop test needs besides: its null and its level."""

    hop_null: HopNull
    alpha: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha = {self.alpha} is not between 0 and 1")


@dataclass(frozen=True)
class TagStates:
    """What the sessions so far of U users leave for their next ones."""

    user_ids: list[str]  # U
    theme: NDArray[np.int32]  # (U,) of the last session
    tail_sum: NDArray[np.float64]  # (U, D), its last events with a vector
    tail_size: NDArray[np.int64]  # (U,)
    seen: ThemesSeen

    def take(self, which: NDArray[np.int64]) -> "TagStates":
        """The chosen users' states; ``which`` ascends."""
        number = np.zeros(len(self.user_ids), np.int64)
        number[which] = np.arange(len(which))
        chosen = np.zeros(len(number), dtype=bool)
        chosen[which] = True
        ids = [self.user_ids[at] for at in which]
        seen = self.seen.of(chosen, number)
        return TagStates(ids, self.theme[which], self.tail_sum[which], self.tail_size[which], seen)

    @staticmethod
    def concat(parts: Sequence["TagStates"]) -> "TagStates":
        """States of all parts' users, one after the other."""
        first = np.cumsum([0, *(len(part.user_ids) for part in parts)])
        seen = ThemesSeen(
            np.concatenate([part.seen.user + at for part, at in zip(parts, first, strict=False)]),
            np.concatenate([part.seen.theme for part in parts]),
            np.concatenate([part.seen.ordinal for part in parts]),
        )
        return TagStates(
            [user for part in parts for user in part.user_ids],
            np.concatenate([part.theme for part in parts]),
            np.concatenate([part.tail_sum for part in parts]),
            np.concatenate([part.tail_size for part in parts]),
            seen,
        )


@dataclass(frozen=True)
class Tags:
    """Themes of N events."""

    theme_running: NDArray[np.int32]  # (N,) of the session up to and including the event
    theme_session: NDArray[np.int32]  # (N,) of the whole session


@dataclass(frozen=True)
class SessionRows:
    """S sessions, in order, less the session id; masks say where a value is known."""

    user: NDArray[np.int64]  # index into user_ids
    user_ids: list[str]
    start: NDArray[np.int64]  # first event's place in the block
    ordinal: NDArray[np.int32]
    start_ts: NDArray[np.int64]  # µs
    end_ts: NDArray[np.int64]  # µs, the last event's
    n_events: NDArray[np.int32]
    n_mode: dict[str, NDArray[np.int32]]  # by column
    n_vectors: dict[str, NDArray[np.int32]]  # by column
    first_event_id: pa.Array
    theme_id: NDArray[np.int32]
    has_interest: NDArray[np.bool_]
    hop_distance: NDArray[np.float64]  # 0 where has_distance is False
    has_distance: NDArray[np.bool_]
    hop_p: NDArray[np.float64]  # 1 where undecided
    decided: NDArray[np.bool_]
    is_hop: NDArray[np.bool_]
    is_return: NDArray[np.bool_]
    return_lag: NDArray[np.int32]

    def to_batch(self, session_id: pa.Array) -> pa.RecordBatch:
        """Rows of ``sessions_arrow_schema``, given the S session ids."""
        schema = sessions_arrow_schema()
        undecided = ~self.decided
        masked: dict[str, tuple[NDArray[Any], NDArray[np.bool_]]] = {
            "hop_distance": (self.hop_distance, ~self.has_distance),
            "hop_p": (self.hop_p, undecided),
            "hop_score": (1.0 - self.hop_p, undecided),
            "is_hop": (self.is_hop, undecided),
            "is_return": (self.is_return, undecided),
            "return_lag": (self.return_lag, ~self.is_return),
        }
        columns: dict[str, pa.Array] = {
            "session_id": session_id,
            "user_id": pa.array(self.user_ids, pa.string()).take(pa.array(self.user)),
            "start_ts": pa.array(self.start_ts).cast(schema.field("start_ts").type),
            "end_ts": pa.array(self.end_ts).cast(schema.field("end_ts").type),
            "first_event_id": self.first_event_id,
        }
        for name in ("ordinal", "n_events", "theme_id", "has_interest"):
            columns[name] = pa.array(getattr(self, name))
        for name, values in (self.n_mode | self.n_vectors).items():
            columns[name] = pa.array(values)
        for name, (values, mask) in masked.items():
            columns[name] = pa.array(values, mask=mask)
        return pa.record_batch([columns[name] for name in schema.names], schema=schema)


def theme_tags(block: EventBlock, themes: Themes) -> Tags:
    """Themes of a block's events; sessions need nothing of the ones before them."""
    rows, _ = themes.table.lookup(block.item, block.category)
    return _tags(rows, block.session_starts(), themes)


def tag_block(
    block: EventBlock,
    fitted: FittedThemes,
    state: TagStates | None = None,
    *,
    everyone_goes_on: bool = False,
) -> tuple[Tags, SessionRows, TagStates | None]:
    """Themes of a block's events and its session rows; the same however the history is cut in blocks.

    ``state`` is of users whose sessions began before this block: what the block before returned, or was kept
    of earlier days. ValueError where it is not of users of the block, or lacks one that the block before cut.
    The state behind the block is of those who go on: of ``unfinished``, or with ``everyone_goes_on`` of all.
    """
    if not block.size:
        raise ValueError("an empty block has no sessions to tag")
    known = places(state.user_ids if state else None, block)
    table = fitted.table
    starts = block.session_starts()
    rows, source = table.lookup(block.item, block.category)
    tags = _tags(rows, starts, fitted)
    ends = np.append(starts[1:], block.size) - 1
    theme = tags.theme_running[ends]

    user = np.searchsorted(block.offsets, starts, side="right") - 1
    opens = np.diff(user, prepend=-1) > 0  # a user's first session in the block
    first = np.flatnonzero(opens)
    hop = _hops(SessionVectors.of(rows, starts), opens, fitted, first[known], state)
    theme_before = np.where(opens, NO_THEME, np.roll(theme, 1))
    seen = NOTHING_SEEN
    if state:
        theme_before[first[known]] = state.theme
        seen = ThemesSeen(known[state.seen.user], state.seen.theme, state.seen.ordinal)
    returns, lag, seen = find_returns(user, block.session[starts], theme, theme_before, hop.is_hop, seen=seen)
    sessions = SessionRows(
        user=user,
        user_ids=block.user_ids,
        start=starts,
        ordinal=block.session[starts],
        start_ts=block.ts[starts],
        end_ts=block.ts[ends],
        n_events=(ends - starts + 1).astype(np.int32),
        n_mode={name: _count(block.mode == code, starts) for name, code in _MODE_COLUMNS.items()},
        n_vectors={name: _count(source == code, starts) for name, code in _SOURCE_COLUMNS.items()},
        first_event_id=block.event_id.take(pa.array(starts)),
        theme_id=theme,
        has_interest=theme != NO_THEME,
        hop_distance=hop.distance,
        has_distance=hop.has_distance,
        hop_p=hop.p,
        decided=hop.decided,
        is_hop=hop.is_hop,
        is_return=returns,
        return_lag=lag,
    )
    left = first_going_on(block, everyone_goes_on)
    if left == len(first):
        return tags, sessions, None
    last = np.append(first[1:], len(starts))[left:] - 1  # sessions
    number = np.arange(len(first)) - left
    after = seen.of(number >= 0, number)
    users = block.user_ids[left:]
    return tags, sessions, TagStates(users, theme[last], hop.last[last], hop.size[last], after)


def _tags(rows: NDArray[np.int32], starts: NDArray[np.int64], themes: Themes) -> Tags:
    """Tags of events whose vectors stand in ``rows`` (N,) and whose sessions begin at ``starts`` (S,)."""
    running = running_themes(themes.table.vectors, rows, starts, themes.centroids, themes.theme_ids)
    ends = np.append(starts[1:], len(rows)) - 1
    return Tags(running, np.repeat(running[ends], ends - starts + 1))


@dataclass(frozen=True)
class _Hops:
    distance: NDArray[np.float64]
    has_distance: NDArray[np.bool_]
    p: NDArray[np.float64]
    decided: NDArray[np.bool_]
    is_hop: NDArray[np.bool_]
    last: NDArray[np.float64]  # (S, D), of each session's last events with a vector
    size: NDArray[np.int64]  # (S,)


def _hops(
    sessions: SessionVectors,
    opens: NDArray[np.bool_],
    fitted: FittedThemes,
    known: NDArray[np.int64],
    state: TagStates | None,
) -> _Hops:
    """Test each of S sessions against the one before; ``opens`` marks those without one in the block.

    ``known`` are those of them whose one before is in the state.
    """
    first, last, size = boundary_sides(fitted.table.vectors, sessions)
    before, size_before = np.roll(last, 1, axis=0), np.where(opens, 0, np.roll(size, 1))
    if state:
        before[known], size_before[known] = state.tail_sum, state.tail_size
    at = np.flatnonzero((size > 0) & (size_before > 0))
    distance = cosine_distance(before[at], first[at])
    at, distance = at[~np.isnan(distance)], distance[~np.isnan(distance)]
    pair = class_pair(size_before[at], size[at])
    decidable = fitted.hop_null.decidable(fitted.alpha)[pair]
    has, decided = np.zeros(len(size), dtype=bool), np.zeros(len(size), dtype=bool)
    distances, p = np.zeros(len(size)), np.ones(len(size))
    has[at], distances[at] = True, distance
    decided[at] = decidable
    p[at[decidable]] = fitted.hop_null.p_value(pair[decidable], distance[decidable])
    return _Hops(distances, has, p, decided, decided & (p <= fitted.alpha), last, size)


def _count(chosen: NDArray[np.bool_], starts: NDArray[np.int64]) -> NDArray[np.int32]:
    """How many events of each session are chosen; (S,)."""
    return np.asarray(np.add.reduceat(chosen, starts, dtype=np.int32))
