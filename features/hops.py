"""Hop test: did interest move further over a boundary than it moves inside sessions? Our choice.

A boundary is described by its sides, the last and the first ``SIDE`` events *with a vector* of two
successive sessions. The null are windows of the same size classes cut inside one session.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.block import EventBlock
from features.vectors import VectorTable

SIDE: Final = 8
"""Most events on a side of a boundary."""

CLASSES: Final = ("1", "2", "3-4", "5-8")
SMALLEST: Final = np.array([1, 2, 3, 5])
LARGEST: Final = np.array([1, 2, 4, 8])
"""Size classes of a side."""

PAIRS: Final = len(CLASSES) ** 2
"""A class pair's code is 4 x left class + right class."""

MIN_NULL: Final = 200
"""Fewest windows with which a class pair is decided."""

CLASS_OF_SIZE: Final = np.array([-1, 0, 1, 2, 2, 3, 3, 3, 3])

WINDOWS_SCHEMA: Final = pa.schema(
    [("pair", pa.int32()), ("distance", pa.float64()), ("priority", pa.int64())]
)
NULL_SCHEMA: Final = pa.schema([("pair", pa.int32()), ("distance", pa.float64())])


@dataclass(frozen=True)
class SessionVectors:
    """Where the S sessions of a block have events with a vector."""

    rows: NDArray[np.int32]  # (V,) rows of the vectors, none left out, in order
    starts: NDArray[np.int64]  # (S,) first of the session's places in rows
    counts: NDArray[np.int64]  # (S,) number of its places, 0 where it has no vector

    @classmethod
    def of(cls, rows: NDArray[np.int32], session_starts: NDArray[np.int64]) -> "SessionVectors":
        """From the row of every event (N,), 0 without, and the sessions' first events (S,)."""
        has = rows > 0
        before = np.concatenate([[0], np.cumsum(has, dtype=np.int64)])
        bounds = np.append(session_starts, len(rows))
        return cls(rows[has], before[bounds[:-1]], np.diff(before[bounds]))


def side_sums(
    vectors: NDArray[np.float32], rows: NDArray[np.int32], begin: NDArray[np.int64], size: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Sums of the ``size`` (n,) vectors of ``rows`` from ``begin`` (n,) on; sizes <= SIDE; (n, D)."""
    order = np.argsort(-size, kind="stable")  # those that still go on are then a slice
    begin, left = begin[order], np.bincount(size, minlength=SIDE + 1)
    going = len(begin) - np.cumsum(left)
    sums = np.zeros((len(begin), vectors.shape[1]))
    for step in range(SIDE):
        rest = going[step]
        sums[:rest] += vectors.take(rows.take(begin[:rest] + step), axis=0)
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return sums.take(back, axis=0)


def boundary_sides(
    vectors: NDArray[np.float32], sessions: SessionVectors
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Sums (S, D) of each session's first and last events, and how many they are (S,), 0 to SIDE."""
    size = np.minimum(sessions.counts, SIDE)
    first = side_sums(vectors, sessions.rows, sessions.starts, size)
    last = first.copy()
    longer = np.flatnonzero(sessions.counts > SIDE)
    ends = sessions.starts[longer] + sessions.counts[longer]
    last[longer] = side_sums(vectors, sessions.rows, ends - SIDE, size[longer])
    return first, last, size


def cosine_distance(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 - cosine of rows (n, D) each, in [0, 2]; NaN where a row is zero.

    On the grid, products are exact and every other step rounds correctly: the same bits everywhere.
    """
    dot = np.einsum("ij,ij->i", left, right)
    square = np.einsum("ij,ij->i", left, left) * np.einsum("ij,ij->i", right, right)
    known = square > 0
    cosine = np.where(known, dot, np.nan) / np.sqrt(np.where(known, square, 1.0))
    return np.asarray(1.0 - np.clip(cosine, -1.0, 1.0))


def class_pair(left_size: NDArray[np.int64], right_size: NDArray[np.int64]) -> NDArray[np.int64]:
    """Code of the class pair of sides with these sizes (n,); sizes 1 to SIDE."""
    return np.asarray(CLASS_OF_SIZE[left_size] * len(CLASSES) + CLASS_OF_SIZE[right_size])


def pair_name(pair: int) -> str:
    """Readable class pair.

    >>> pair_name(7)
    '2|5-8'
    """
    return f"{CLASSES[pair // len(CLASSES)]}|{CLASSES[pair % len(CLASSES)]}"


def size_counts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many sessions have sides of size 1 to SIDE, given their numbers of vectors (S,); (SIDE,).

    Add these over blocks: they tell ``null_windows`` how sizes mix inside a class.
    """
    return np.bincount(np.minimum(counts[counts > 0], SIDE), minlength=SIDE + 1)[1:].astype(np.int64)


def block_size_counts(block: EventBlock, table: VectorTable) -> NDArray[np.int64]:
    """``size_counts`` of a block's sessions; (SIDE,)."""
    rows, _ = table.lookup(block.item, block.category)
    return size_counts(SessionVectors.of(rows, block.session_starts()).counts)


@dataclass(frozen=True)
class Windows:
    """n windows to be cut inside sessions."""

    pair: NDArray[np.int64]  # class pair
    session: NDArray[np.int64]  # which of the sessions given
    cut: NDArray[np.int64]  # places of the session before the cut
    sizes: NDArray[np.int64]  # (n, 2) left, right
    priority: NDArray[np.int64]  # hash; the smallest ones are kept where there are too many


@dataclass(frozen=True)
class NullWindows:
    """n windows inside sessions and how far interest moved in them: a piece of the null."""

    pair: NDArray[np.int64]
    distance: NDArray[np.float64]
    priority: NDArray[np.int64]
    session: NDArray[np.int64]
    sizes: NDArray[np.int64]  # (n, 2)

    def to_arrow(self) -> pa.RecordBatch:
        """Rows of ``WINDOWS_SCHEMA``."""
        columns = [pa.array(self.pair.astype(np.int32)), pa.array(self.distance), pa.array(self.priority)]
        return pa.record_batch(columns, schema=WINDOWS_SCHEMA)


def null_windows(
    block: EventBlock, table: VectorTable, size_mix: NDArray[np.int64], per_session: int = 2
) -> NullWindows:
    """Windows of a block of whole sessions, a pure function of user id, session ordinal and content."""
    rows, _ = table.lookup(block.item, block.category)
    starts = block.session_starts()
    hashes = np.array([user_hash(user) for user in block.user_ids], dtype=np.uint64)
    user = np.searchsorted(block.offsets, starts, side="right") - 1
    sessions = SessionVectors.of(rows, starts)
    return windows_in(
        sessions, hashes[user], block.session[starts], table.vectors, size_mix, per_session=per_session
    )


def windows_in(
    sessions: SessionVectors,
    user_hashes: NDArray[np.uint64],
    ordinal: NDArray[np.int32],
    vectors: NDArray[np.float32],
    size_mix: NDArray[np.int64],
    *,
    per_session: int = 2,
) -> NullWindows:
    """``draw_windows`` in S sessions, with their distances; windows with a side of zero are left out."""
    drawn = draw_windows(sessions.counts, user_hashes, ordinal, size_mix, per_session=per_session)
    (m, n), cut = drawn.sizes.T, sessions.starts[drawn.session] + drawn.cut
    distance = cosine_distance(
        side_sums(vectors, sessions.rows, cut - m, m), side_sums(vectors, sessions.rows, cut, n)
    )
    good = ~np.isnan(distance)
    return NullWindows(
        drawn.pair[good], distance[good], drawn.priority[good], drawn.session[good], drawn.sizes[good]
    )


def draw_windows(
    counts: NDArray[np.int64],
    user_hashes: NDArray[np.uint64],
    ordinal: NDArray[np.int32],
    size_mix: NDArray[np.int64],
    *,
    per_session: int = 2,
) -> Windows:
    """Draw windows inside S sessions with hashes of (user, session ordinal, class pair, draw).

    A window cuts a session's ``counts`` events with a vector before place c: the left side are the
    last m before it, the right one the first n from it on. For a class pair with largest sizes M, N

    - only sessions with at least M + N vectors take part, so that a session's length does not decide
      which sizes of the class it can give;
    - c lies in [M, count - N], in one of k = min(per_session, places) equal strata: windows differ,
      and a long session weighs no more than any other that can give ``per_session`` windows;
    - m and n are drawn from ``size_mix`` (SIDE,), the counts of real sides' sizes, inside their
      classes. A class's sizes then mix as they do at real boundaries: distances shrink with the
      size, and a null of 8s alone would call boundaries of 5s hops too often.
    """
    parts: list[Windows] = []
    for pair in range(PAIRS):
        left, right = divmod(pair, len(CLASSES))
        most = int(LARGEST[left] + LARGEST[right])
        able = np.flatnonzero(counts >= most)
        places = counts[able] - most + 1
        for draw in range(per_session):
            session, room = able[places > draw], places[places > draw]
            strata = np.minimum(room, per_session)
            low, high = draw * room // strata, (draw + 1) * room // strata
            base = _mix(user_hashes[session] ^ _mix(ordinal[session].astype(np.uint64)))
            seed = _mix(base ^ np.uint64(pair * 1_000_003 + draw))
            place, m_hash, n_hash, priority = (_mix(seed + np.uint64(salt)) for salt in range(1, 5))
            cut = LARGEST[left] + low + (place % (high - low).astype(np.uint64)).astype(np.int64)
            sizes = [_sizes(left, m_hash, size_mix), _sizes(right, n_hash, size_mix)]
            kept = (priority >> np.uint64(1)).astype(np.int64)
            parts.append(Windows(np.full(len(cut), pair), session, cut, np.stack(sizes, axis=1), kept))
    return Windows(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in Windows.__annotations__)
    )


@dataclass(frozen=True)
class HopNull:
    """Distances inside sessions, ascending within each class pair."""

    distance: NDArray[np.float64]  # (windows,)
    offsets: NDArray[np.int64]  # (PAIRS + 1,)

    def __post_init__(self) -> None:
        if len(self.offsets) != PAIRS + 1 or self.offsets[-1] != len(self.distance):
            raise ValueError("offsets do not fit the distances of a hop null")

    @classmethod
    def fit(
        cls,
        pair: NDArray[np.int64],
        distance: NDArray[np.float64],
        priority: NDArray[np.int64],
        max_null: int = 20_000,
    ) -> "HopNull":
        """From windows (n,) in any order; a pair keeps the ``max_null`` of smallest (priority, distance)."""
        parts = []
        for code in range(PAIRS):
            own = np.flatnonzero(pair == code)
            kept = own[np.lexsort((distance[own], priority[own]))][:max_null]
            parts.append(np.sort(distance[kept]))
        offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        return cls(np.concatenate(parts).astype(np.float64), offsets)

    def sizes(self) -> NDArray[np.int64]:
        """Windows of each class pair; (PAIRS,)."""
        return np.diff(self.offsets)

    def min_p(self) -> NDArray[np.float64]:
        """p at each pair's largest null distance, the smallest it can reach there; 1 without any."""
        last = np.where(self.sizes() > 0, self.offsets[1:] - 1, 0)
        largest = self.distance[last] if len(self.distance) else np.zeros(PAIRS)
        return self.p_value(np.arange(PAIRS), largest)

    def decidable(self, alpha: float, min_null: int = MIN_NULL) -> NDArray[np.bool_]:
        """Pairs (PAIRS,) with at least ``min_null`` windows that can reach ``alpha``."""
        return np.asarray((self.sizes() >= min_null) & (self.min_p() <= alpha))

    def p_value(self, pair: NDArray[np.int64], distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """(1 + windows at least as far) / (1 + windows) for boundaries (n,) of these class pairs."""
        p = np.empty(len(pair))
        for code in np.unique(pair):
            own = pair == code
            null = self.distance[self.offsets[code] : self.offsets[code + 1]]
            farther = len(null) - np.searchsorted(null, distance[own], side="left")
            p[own] = (1 + farther) / (1 + len(null))
        return p

    def to_arrow(self) -> pa.Table:
        """Rows of ``NULL_SCHEMA``."""
        pair = np.repeat(np.arange(PAIRS, dtype=np.int32), self.sizes())
        return pa.table([pa.array(pair), pa.array(self.distance)], schema=NULL_SCHEMA)

    @classmethod
    def from_arrow(cls, table: pa.Table) -> "HopNull":
        """The null that ``to_arrow`` wrote, rows in any order."""
        pair = np.asarray(table.column("pair").to_numpy(), dtype=np.int64)
        distance = np.asarray(table.column("distance").to_numpy(), dtype=np.float64)
        return cls.fit(pair, distance, np.zeros(len(pair), dtype=np.int64), max_null=len(pair))


def user_hash(user_id: str) -> int:
    """64 bits of a user id, the same on every machine and in every run."""
    return int.from_bytes(hashlib.blake2b(user_id.encode(), digest_size=8).digest(), "little")


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Splitmix64's finaliser (Steele, Lea and Flood 2014): unrelated outputs for neighbouring inputs."""
    z = state + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _sizes(size_class: int, hashes: NDArray[np.uint64], size_mix: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sizes of one class, drawn by hash in proportion to ``size_mix``; evenly where it counts none."""
    small, large = int(SMALLEST[size_class]), int(LARGEST[size_class])
    share = np.cumsum(size_mix[small - 1 : large])
    if share[-1] == 0:
        share = np.arange(1, large - small + 2)
    drawn = (hashes % np.uint64(share[-1])).astype(np.int64)
    return small + np.searchsorted(share, drawn, side="right")
