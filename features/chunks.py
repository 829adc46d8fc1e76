"""From blocks of events to rows of ``gold/user_sequences``: a fold over blocks.

A user's targets are his events that have an earlier one (``ts`` strictly before); they are cut into
chunks greedily, in order, and every chunk becomes a row with the pool of ``features.pool``. Most
users are one chunk that holds everything; they are laid out at once. The others are cut one by one.

A user who is cut over blocks is carried as a pruned history: the open chunk's events and what a later
one may still select (the last R, the last C of every key, the last S sessions). The rows are the
same for every block size. A closed chunk depends on nothing after its end, save that the one event
that did not fit closed it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.block import EventBlock
from features.history import Events
from features.pool import Chunk, PoolIndex
from features.rows import Pools, arrow_schema, build_rows
from features.spec import SequenceSpec
from features.strands import ramp

__all__ = ["OpenUser", "arrow_schema", "chunk_block", "ending_rows", "has_room"]


@dataclass(frozen=True)
class OpenUser:
    """A heavy user whose history goes on in the next block."""

    user_id: str
    events: Events  # pruned
    start: int  # index in events of the first target that no written chunk owns; at most their number
    chunk: int  # number of the next chunk


def chunk_block(
    block: EventBlock,
    theme_running: NDArray[np.int32],
    theme_session: NDArray[np.int32],
    spec: SequenceSpec,
    state: OpenUser | None = None,
) -> tuple[Iterator[pa.RecordBatch], OpenUser | None]:
    """Rows of all chunks that close in this block, and the user who goes on in the next one.

    ``theme_running`` and ``theme_session`` are int32 of shape (N,), one per event of the block. Batches
    are built as they are asked for; each has the columns of ``arrow_schema(spec)`` and rows of one bucket,
    whose order means nothing.
    ValueError where the block does not go on from the state.
    """
    if block.size == 0:
        return iter(()), state
    _check_continues(block, state)
    events = Events.of_block(block, theme_running, theme_session)
    offsets = block.offsets
    if state is not None:
        events = Events.concat([state.events, events])
        offsets = offsets + len(state.events)
        offsets[0] = 0

    whole, leading = _whole(events, offsets, spec)
    if state is not None:
        whole[0] = False
    if block.unfinished:
        whole[-1] = False
    sizes = np.diff(offsets)
    parts = [_whole_pools(np.flatnonzero(whole), offsets, sizes - leading)]
    following: OpenUser | None = None
    for user in np.flatnonzero(~whole).tolist():
        begin = OpenUser(block.user_ids[user], events.take(slice(offsets[user], offsets[user + 1])), 0, 0)
        if user == 0 and state is not None:
            begin = OpenUser(begin.user_id, begin.events, state.start, state.chunk)
        unfinished = block.unfinished and user == len(sizes) - 1
        chunks, remaining = _cut(begin, spec, unfinished)
        parts.append(_pools(chunks, user, begin.chunk, int(offsets[user])))
        following = remaining
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
            chunks, _ = _cut(OpenUser(block.user_ids[user], own, 0, 0), spec, unfinished=False)
        joins = len(chunks) == 1 and len(chunks[0].pool) < spec.pool
        pool = chunks[0].pool if joins else PoolIndex(own, spec).selected(len(own))
        parts.append(_pools([Chunk(len(own), len(own), pool)], user, int(not joins), int(offsets[user])))
    return build_rows(events, _concat(parts), block.user_ids, spec)


def has_room(length: NDArray[np.int64], targets: NDArray[np.int64], spec: SequenceSpec) -> NDArray[np.bool_]:
    """Whether chunks of so many events and targets (R,) may take the event that follows as a target."""
    room: NDArray[np.bool_] = (length < spec.pool) & (targets < spec.targets)
    return room


def _check_continues(block: EventBlock, state: OpenUser | None) -> None:
    """The first user goes on exactly when the state says that someone does."""
    expected = None if state is None else state.user_id
    found = block.user_ids[0] if block.continued else None
    if expected != found:
        raise ValueError(
            f"the block continues user {found!r} but the state holds {expected!r}; "
            "pass blocks in order, each with the state that the block before returned"
        )


def _whole(
    events: Events, offsets: NDArray[np.int64], spec: SequenceSpec
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether a user is one chunk that holds everything, and his number of events without a target."""
    sizes = np.diff(offsets)
    starts = offsets[:-1]
    leading = np.add.reduceat((events.ts == np.repeat(events.ts[starts], sizes)).astype(np.int64), starts)
    whole = (sizes <= spec.pool) & (sizes - leading <= spec.targets)
    return whole & (leading <= spec.family("recent").length), leading


def _cut(user: OpenUser, spec: SequenceSpec, unfinished: bool) -> tuple[list[Chunk], OpenUser | None]:
    """Chunks of one user; where he goes on, the last one stays open."""
    index = PoolIndex(user.events, spec)
    start = max(user.start, index.first_target())
    chunks = index.chunks(start)
    if not unfinished:
        if not chunks and user.chunk == 0:
            chunks = [Chunk(index.size, index.size, index.selected(index.size))]
        return chunks, None
    start = chunks.pop().start if chunks else index.size
    kept = index.kept(start)
    first = int(np.searchsorted(kept, start))
    return chunks, OpenUser(user.user_id, user.events.take(kept), first, user.chunk + len(chunks))


def _whole_pools(users: NDArray[np.int64], offsets: NDArray[np.int64], targets: NDArray[np.int64]) -> Pools:
    """Each of ``users`` as one chunk of all his events; ``targets`` (U,) of every user of the block."""
    sizes = np.diff(offsets)[users]
    source = np.repeat(offsets[users], sizes) + ramp(sizes)
    return Pools(users, np.zeros_like(users), targets[users], sizes, source)


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
