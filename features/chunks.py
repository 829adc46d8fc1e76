"""From blocks of events to rows of ``gold/user_sequences``: a fold over blocks.

A user's targets are his events that have an earlier one (``ts`` strictly before); they are cut into
chunks greedily, in order, and every chunk becomes a row with the pool of ``features.pool``. Most
users are one chunk that holds everything; they are laid out at once. The others are cut one by one.

A user who is cut over blocks is carried as a pruned history: the open chunk's events and what a later
one may still select (the last R, the last C of every key, the last S sessions). The rows are the
same for every block size. A closed chunk depends on nothing after its end, save that the one event
that did not fit closed it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.block import EventBlock
from features.carried import first_going_on, places
from features.history import Events
from features.pool import Chunk, PoolIndex
from features.rows import Pools, arrow_schema, build_rows
from features.spec import SequenceSpec
from features.strands import ramp

__all__ = ["OpenUsers", "arrow_schema", "chunk_block", "ending_rows", "has_room"]


@dataclass(frozen=True)
class OpenUsers:
    """U users whose history goes on, each with what is kept of his events."""

    user_ids: list[str]  # U
    chunk: NDArray[np.int64]  # (U,) number of the next chunk
    start: NDArray[np.int64]  # (U,) place among his kept events of the first target without a written chunk
    offsets: NDArray[np.int64]  # (U + 1,) user u keeps events [offsets[u], offsets[u + 1])
    events: Events  # pruned

    def take(self, which: NDArray[np.int64]) -> "OpenUsers":
        """The chosen users."""
        _, source = _ranges(which, self.offsets)
        return OpenUsers(
            [self.user_ids[at] for at in which],
            self.chunk[which],
            self.start[which],
            np.append(0, np.cumsum(np.diff(self.offsets)[which])),
            self.events.take(source),
        )

    @staticmethod
    def concat(parts: Sequence["OpenUsers"]) -> "OpenUsers":
        """All parts' users, one after the other."""
        sizes = np.concatenate([np.diff(part.offsets) for part in parts])
        return OpenUsers(
            [user for part in parts for user in part.user_ids],
            np.concatenate([part.chunk for part in parts]),
            np.concatenate([part.start for part in parts]),
            np.append(0, np.cumsum(sizes)),
            Events.concat([part.events for part in parts]),
        )


def chunk_block(
    block: EventBlock,
    theme_running: NDArray[np.int32],
    theme_session: NDArray[np.int32],
    spec: SequenceSpec,
    state: OpenUsers | None = None,
    *,
    everyone_goes_on: bool = False,
) -> tuple[Iterator[pa.RecordBatch], OpenUsers | None]:
    """Rows of all chunks that close in this block, and the users who go on behind it.

    ``theme_running`` and ``theme_session`` are int32 of shape (N,), one per event of the block. ``state`` is
    of users who began before this block: what the block before returned, or was kept of earlier days.
    Batches are built as they are asked for; each has the columns of ``arrow_schema(spec)`` and rows of one
    bucket, whose order means nothing. ``everyone_goes_on``: nobody's last chunk closes here.
    ValueError where the block does not go on from the state.
    """
    if block.size == 0:
        return iter(()), state
    known = places(state.user_ids if state else None, block)
    events = Events.of_block(block, theme_running, theme_session)
    offsets = block.offsets
    chunk, start = np.zeros((2, len(block.user_ids)), np.int64)
    if state is not None:
        _require_next(block, known, state)
        events, offsets = _behind(state, known, events, offsets)
        chunk[known], start[known] = state.chunk, state.start

    whole, leading = _whole(events, offsets, spec)
    sizes = np.diff(offsets)
    whole &= sizes == events.ordinal[offsets[1:] - 1]  # nothing was pruned
    left = first_going_on(block, everyone_goes_on)
    here = np.flatnonzero(whole[:left])
    parts = [_whole_pools(here, offsets, sizes - leading)]
    complete = np.flatnonzero(whole[left:]) + left
    kept = [_ranges(complete, offsets)]
    start[complete] = leading[complete]
    for user in np.flatnonzero(~whole).tolist():
        own = events.take(slice(offsets[user], offsets[user + 1]))
        found, remaining = _cut(own, int(start[user]), int(chunk[user]), spec, goes_on=user >= left)
        parts.append(_pools(found, user, int(chunk[user]), int(offsets[user])))
        if remaining is not None:
            chunk[user] += len(found)
            start[user] = remaining.start
            kept.append((np.full(len(remaining.places), user), offsets[user] + remaining.places))
    following = None
    if left < len(block.user_ids):
        counts, source = _in_order(kept, left, len(block.user_ids))
        following = OpenUsers(
            block.user_ids[left:],
            chunk[left:],
            start[left:],
            np.append(0, np.cumsum(counts)),
            events.take(source),
        )
    return build_rows(events, _concat(parts), block.user_ids, spec), following


def ending_rows(
    block: EventBlock, theme_running: NDArray[np.int32], theme_session: NDArray[np.int32], spec: SequenceSpec
) -> Iterator[pa.RecordBatch]:
    """What each user's next event may see: one row without targets for each history of a block.

    A history of one chunk that has room for a further target gives that chunk's row. Otherwise the next event
    would open a chunk: the row holds what the strands at the history's end read, whatever chunks it is cut
    into, so that older events need not be known; its chunk is 1, which says no more than that there are
    earlier ones. Batches are those of ``chunk_block``.
    """
    events, offsets = Events.of_block(block, theme_running, theme_session), block.offsets
    whole, leading = _whole(events, offsets, spec)
    whole &= has_room(np.diff(offsets), np.diff(offsets) - leading, spec)
    parts = [_whole_pools(np.flatnonzero(whole), offsets, np.zeros_like(leading))]
    for user in np.flatnonzero(~whole).tolist():
        own = events.take(slice(offsets[user], offsets[user + 1]))
        chunks: list[Chunk] = []
        if len(own) - leading[user] < spec.targets:
            chunks, _ = _cut(own, 0, 0, spec, goes_on=False)
        joins = len(chunks) == 1 and len(chunks[0].pool) < spec.pool
        pool = chunks[0].pool if joins else PoolIndex(own, spec).selected(len(own))
        parts.append(_pools([Chunk(len(own), len(own), pool)], user, int(not joins), int(offsets[user])))
    return build_rows(events, _concat(parts), block.user_ids, spec)


def has_room(length: NDArray[np.int64], targets: NDArray[np.int64], spec: SequenceSpec) -> NDArray[np.bool_]:
    """Whether chunks of so many events and targets (R,) may take the event that follows as a target."""
    room: NDArray[np.bool_] = (length < spec.pool) & (targets < spec.targets)
    return room


def _require_next(block: EventBlock, known: NDArray[np.int64], state: OpenUsers) -> None:
    """ValueError unless the block holds each known user's very next event."""
    last = state.offsets[1:] - 1
    expected = np.where(last >= state.offsets[:-1], state.events.ordinal[last], 0) + 1
    found = block.ordinal[block.offsets[known]]
    if (found != expected).any():
        at = int(np.argmax(found != expected))
        raise ValueError(
            f"user {state.user_ids[at]!r} goes on with event {found[at]}, but {expected[at]} comes next; "
            "pass blocks in order, each with the state that the block before returned"
        )


def _behind(
    state: OpenUsers, known: NDArray[np.int64], events: Events, offsets: NDArray[np.int64]
) -> tuple[Events, NDArray[np.int64]]:
    """Each user's kept events, the new ones behind them; and their offsets."""
    sizes = np.diff(offsets)
    old = np.repeat(known, np.diff(state.offsets))
    order = np.argsort(np.concatenate([old, np.repeat(np.arange(len(sizes)), sizes)]), kind="stable")
    total = sizes + np.bincount(old, minlength=len(sizes))
    return Events.concat([state.events, events]).take(order), np.append(0, np.cumsum(total))


def _in_order(
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]], first: int, users: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """From pairs of user and place: how many each user from ``first`` on has, and the places by user."""
    user = np.concatenate([owners for owners, _ in parts])
    source = np.concatenate([places for _, places in parts])
    order = np.argsort(user, kind="stable")
    return np.bincount(user - first, minlength=users - first), source[order]


def _whole(
    events: Events, offsets: NDArray[np.int64], spec: SequenceSpec
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether a user is one chunk that holds everything, and his number of events without a target."""
    sizes = np.diff(offsets)
    starts = offsets[:-1]
    leading = np.add.reduceat((events.ts == np.repeat(events.ts[starts], sizes)).astype(np.int64), starts)
    whole = (sizes <= spec.pool) & (sizes - leading <= spec.targets)
    return whole & (leading <= spec.family("recent").length), leading


@dataclass(frozen=True)
class _Kept:
    places: NDArray[np.int64]  # of the events that are kept
    start: int  # among those, of the open chunk


def _cut(
    events: Events, start: int, chunk: int, spec: SequenceSpec, goes_on: bool
) -> tuple[list[Chunk], _Kept | None]:
    """Chunks of one user from the target at ``start`` on; where he goes on, the last one stays open."""
    index = PoolIndex(events, spec)
    start = max(start, index.first_target())
    chunks = index.chunks(start)
    if not goes_on:
        if not chunks and chunk == 0:
            chunks = [Chunk(index.size, index.size, index.selected(index.size))]
        return chunks, None
    start = chunks.pop().start if chunks else index.size
    kept = index.kept(start)
    return chunks, _Kept(kept, int(np.searchsorted(kept, start)))


def _ranges(
    users: NDArray[np.int64], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """User and place of all events of ``users``."""
    sizes = np.diff(offsets)[users]
    return np.repeat(users, sizes), np.repeat(offsets[users], sizes) + ramp(sizes)


def _whole_pools(users: NDArray[np.int64], offsets: NDArray[np.int64], targets: NDArray[np.int64]) -> Pools:
    """Each of ``users`` as one chunk of all his events; ``targets`` (U,) of every user of the block."""
    _, source = _ranges(users, offsets)
    return Pools(users, np.zeros_like(users), targets[users], np.diff(offsets)[users], source)


def _pools(chunks: list[Chunk], user: int, first_chunk: int, offset: int) -> Pools:
    """The chunks of one user whose events begin at ``offset``."""
    return Pools(
        np.full(len(chunks), user),
        first_chunk + np.arange(len(chunks)),
        np.array([chunk.end - chunk.start for chunk in chunks], np.int64),
        np.array([len(chunk.pool) for chunk in chunks], np.int64),
        offset + np.concatenate([np.empty(0, np.int64), *(chunk.pool for chunk in chunks)]),
    )


def _concat(parts: list[Pools]) -> Pools:
    names = ("user", "chunk", "targets", "length", "source")
    return Pools(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
