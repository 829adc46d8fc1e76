"""Small histories as nested lists, and the blocks that the kernels get for them."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from features.block import EventBlock
from features.vectors import GRID, VectorTable

Event = tuple[int, int]  # item, category
History = list[list[Event]]  # sessions of one user


def grid_table(items: dict[int, Sequence[int]], categories: dict[int, Sequence[int]]) -> VectorTable:
    """Table from vectors in units of 2^-16."""
    dim = len(next(iter((items | categories).values())))

    def side(vectors: dict[int, Sequence[int]]) -> tuple[Any, Any]:
        values = np.array(list(vectors.values()), dtype=np.float64).reshape(-1, dim) * GRID
        return np.array(list(vectors), dtype=np.int32), values

    return VectorTable.build(*side(items), *side(categories))


def block_of(users: Sequence[History], names: Sequence[str] | None = None) -> EventBlock:
    """One block with all sessions of all users; event k has ts = k seconds and id e<k>, modes cycle."""
    flat = [
        (u, s, o, event)
        for u, history in enumerate(users)
        for o, (s, event) in enumerate(
            ((s, event) for s, session in enumerate(history, 1) for event in session), 1
        )
    ]
    n = len(flat)
    sizes = [sum(map(len, history)) for history in users]
    return EventBlock(
        user_ids=list(names or [f"u{u}" for u in range(len(users))]),
        offsets=np.cumsum([0, *sizes], dtype=np.int64),
        event_id=pa.array([f"e{k}" for k in range(n)], pa.string()),
        ts=np.arange(n, dtype=np.int64) * 1_000_000,
        item=np.array([e[0] for *_, e in flat], dtype=np.int32),
        category=np.array([e[1] for *_, e in flat], dtype=np.int32),
        type=np.full(n, 2, dtype=np.int32),
        mode=np.array([1 + k % 4 for k in range(n)], dtype=np.int32),
        ordinal=np.array([o for _, _, o, _ in flat], dtype=np.int32),
        session=np.array([s for _, s, _, _ in flat], dtype=np.int32),
        continued=False,
        unfinished=False,
    )


def cut(block: EventBlock, places: Sequence[int]) -> list[EventBlock]:
    """The block in pieces that begin at these session numbers of it (0 is always one)."""
    starts = block.session_starts()
    bounds = [*(int(starts[k]) for k in sorted({0, *(p % len(starts) for p in places)})), block.size]
    pieces = []
    for low, high in pairwise(bounds):
        first = int(np.searchsorted(block.offsets, low, side="right")) - 1
        last = int(np.searchsorted(block.offsets, high, side="left"))  # one past the last user
        arrays = {
            name: getattr(block, name)[low:high]
            for name in ("event_id", "ts", "item", "category", "type", "mode", "ordinal", "session")
        }
        pieces.append(
            EventBlock(
                user_ids=block.user_ids[first:last],
                offsets=np.clip(block.offsets[first : last + 1], low, high) - low,
                continued=low > int(block.offsets[first]),
                unfinished=high < int(block.offsets[last]),
                **arrays,
            )
        )
    return pieces
