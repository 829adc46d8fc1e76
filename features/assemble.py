"""Blocks of whole sessions, put together from pieces that a batch boundary may have cut anywhere."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.block import EventBlock


def assemble(pieces: Iterable[EventBlock], block_events: int) -> Iterator[EventBlock]:
    """Blocks of at most ``block_events`` events from consecutive pieces, the same for every cut of them.

    A piece carries absolute ordinals, and ``continued`` where its first user began in the piece before.
    A block holds as many whole users as fit; a user with more events is cut between sessions, a session
    with more is a block of its own. Memory: a piece, a block and the largest session.
    """
    if block_events < 1:
        raise ValueError(f"block_events = {block_events} must be at least 1")
    held: list[EventBlock] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += piece.size
        # Joining while one endless session grows would cost its square.
        if size > block_events and _first_session(held[0]) != _last_session(piece):
            joined = _join(held)
            start = 0
            for end in _block_ends(joined, block_events):
                yield _part(joined, start, end)
                start = end
            held = [_part(joined, start, size)]
            size -= start
    if held:
        joined = _join(held)
        ends = [*_block_ends(joined, block_events), size]
        for start, end in zip([0, *ends], ends, strict=False):
            yield _part(joined, start, end)


def _first_session(block: EventBlock) -> tuple[str, int]:
    return block.user_ids[0], int(block.session[0])


def _last_session(block: EventBlock) -> tuple[str, int]:
    return block.user_ids[-1], int(block.session[-1])


def _join(pieces: list[EventBlock]) -> EventBlock:
    """Consecutive pieces as one; a ``continued`` piece goes on with the last user of the one before."""
    if len(pieces) == 1:
        return pieces[0]
    user_ids = list(pieces[0].user_ids)
    starts = [pieces[0].offsets[:-1]]
    size = pieces[0].size
    for piece in pieces[1:]:
        known = int(piece.continued)
        user_ids += piece.user_ids[known:]
        starts.append(piece.offsets[known:-1] + size)
        size += piece.size
    names = ("ts", "item", "category", "type", "mode", "ordinal", "session")
    arrays = {name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in names}
    return EventBlock(
        user_ids=user_ids,
        offsets=np.append(np.concatenate(starts), size),
        event_id=pa.concat_arrays([piece.event_id for piece in pieces]),
        continued=pieces[0].continued,
        unfinished=pieces[-1].unfinished,
        **arrays,
    )


def _part(block: EventBlock, start: int, end: int) -> EventBlock:
    """Events [start, end) of the block, as views."""
    first = int(np.searchsorted(block.offsets, start, side="right")) - 1
    last = int(np.searchsorted(block.offsets, end, side="left"))
    cut = slice(start, end)
    return replace(
        block,
        user_ids=block.user_ids[first:last],
        offsets=np.clip(block.offsets[first : last + 1], start, end) - start,
        event_id=block.event_id.slice(start, end - start),
        ts=block.ts[cut],
        item=block.item[cut],
        category=block.category[cut],
        type=block.type[cut],
        mode=block.mode[cut],
        ordinal=block.ordinal[cut],
        session=block.session[cut],
        continued=bool(start > block.offsets[first]) or (start == 0 and block.continued),
        unfinished=bool(end < block.offsets[last]),
    )


def _block_ends(block: EventBlock, block_events: int) -> Iterator[int]:
    """Ends of the blocks that can leave now: what lies behind the last one may still grow."""
    sessions = block.session_starts()
    start = 0
    while block.size - start > block_events:
        end = _last_in(block.offsets[:-1], start, start + block_events)
        if end is None:
            end = _last_in(sessions, start, start + block_events)
        if end is None:
            later = int(np.searchsorted(sessions, start, side="right"))
            if later == len(sessions):
                return
            end = int(sessions[later])
        yield end
        start = end


def _last_in(positions: NDArray[np.int64], after: int, until: int) -> int | None:
    """The last of the ascending positions in (after, until], if any."""
    at = int(np.searchsorted(positions, until, side="right")) - 1
    return int(positions[at]) if at >= 0 and positions[at] > after else None
