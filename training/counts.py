"""Counting the events before a point in time from sequence rows, each event once.

Chunks of a user overlap in the events they hold but not in those they own: an event is counted where
it is a target, and the first events of a user, which nothing precedes, in his first chunk. Only
where more than ``recent`` events share a user's very first instant does the first chunk lack some.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.codes import FIRST_INDEX, UNKNOWN
from training.gold import Block

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class EventCounts:
    """Counts by the pipeline's index, and of (item, category) pairs."""

    items: Counts
    categories: Counts
    types: Counts
    pairs: tuple[NDArray[np.int64], NDArray[np.int64], Counts]  # item, category, count; distinct pairs
    themes: tuple[int, ...]  # ids in the rows, whenever: what a theme is called says nothing of the future

    def main_categories(self) -> NDArray[np.int32]:
        """For each item the index of its most frequent category, a known one where there is any, else 1."""
        item, category, n = self.pairs
        order = np.lexsort((category, -n, category < FIRST_INDEX, item))
        first = order[np.flatnonzero(np.diff(item[order], prepend=-1))]
        found = np.full(len(self.items), UNKNOWN, np.int32)
        found[item[first]] = category[first]
        return found


def owned(block: Block) -> NDArray[np.bool_]:
    """(N, L) whether the row is the one in which an event is counted."""
    rows, width = len(block), block.bucket
    mark = np.zeros((rows, width), dtype=bool)
    row, slot = np.nonzero(block.target_pos >= 0)
    mark[row, block.target_pos[row, slot]] = True
    first = np.where(mark.any(axis=1), mark.argmax(axis=1), width)[:, None]
    place = np.arange(width)
    leading = (place >= (width - block.length)[:, None]) & (place < first) & (block.chunk == 0)[:, None]
    counted: NDArray[np.bool_] = mark | leading
    return counted


def count_events(blocks: Iterable[Block], before: int) -> EventCounts:
    """Count every event with ``ts < before`` (unix seconds)."""
    singles = {name: np.zeros(FIRST_INDEX, np.int64) for name in ("item", "category", "type")}
    pairs, pair_counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    themes: set[int] = set()
    for block in blocks:
        events = block.events
        counted = owned(block) & (events["ts"] < before)
        for name, total in singles.items():
            singles[name] = _add(total, np.bincount(events[name][counted], minlength=FIRST_INDEX))
        packed = (events["item"][counted].astype(np.int64) << 32) | events["category"][counted]
        distinct, n = np.unique(packed, return_counts=True)
        pairs, place = np.unique(np.concatenate([pairs, distinct]), return_inverse=True)
        pair_counts = np.bincount(place, np.concatenate([pair_counts, n]), len(pairs)).astype(np.int64)
        themes |= set(np.unique(events["session_theme"]).tolist()) | set(np.unique(events["theme"]).tolist())
    return EventCounts(
        singles["item"],
        singles["category"],
        singles["type"],
        (pairs >> 32, pairs & 0xFFFFFFFF, pair_counts),
        tuple(sorted(theme for theme in themes if theme >= FIRST_INDEX)),
    )


def _add(left: Counts, right: Counts) -> Counts:
    if len(left) < len(right):
        left, right = right, left
    total = left.copy()
    total[: len(right)] += right
    return total
