"""Which part of a gold row a training row holds: all of it up to its last target, or windows of it.

A gold row may hold 2,048 events; attention over all of them costs their square. Rows longer than
``length`` are cut into windows of at most ``length`` consecutive events. Every target is in exactly one
window, and sees there its latest ``context`` visible events or more (all that the row has, where those are
fewer). Windows are laid from the row's beginning, so that what a target sees does not depend on how much
its user did later. What it does not see is what lies further back in the row, such as the old events of a
theme that returns; models that gather strands by position can afford whole rows instead (``length`` = the
table's pool).

A run of equal times longer than ``length - context`` cannot stand between a target and what it sees: such
a window holds the visible events and, after a jump, targets of the run. Our choice.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.errors import ConfigError

Ints = NDArray[np.int64]

LENGTHS: Final = (16, 64, 128, 256, 512, 1024, 2048, 4096)
"""Lengths that rows are padded to, as far as the longest one allows (the pipeline's buckets)."""


@dataclass(frozen=True)
class WindowRule:
    """Rows of at most ``length`` events, padded to one of ``lengths``; ``context`` as above."""

    length: int = 256
    context: int = 128
    lengths: tuple[int, ...] = (16, 64, 128, 256)

    def __post_init__(self) -> None:
        if not 1 <= self.context < self.length:
            raise ConfigError(
                f"context = {self.context} must lie between 1 and length = {self.length}, exclusive"
            )
        if list(self.lengths) != sorted(set(self.lengths)) or self.lengths[-1] != self.length:
            raise ConfigError(f"lengths {list(self.lengths)} must ascend and end at length = {self.length}")

    @classmethod
    def whole(cls, pool: int) -> "WindowRule":
        """Rows as they are, up to ``pool`` events, padded to powers of two from 16."""
        powers = [16]
        while powers[-1] < pool:
            powers.append(min(2 * powers[-1], pool))
        return cls(pool, max(1, pool // 2), tuple(powers))


def window_rule(max_length: int) -> WindowRule:
    """Rows of at most ``max_length`` events; a target sees its latest half of them or more.

    >>> window_rule(100)
    WindowRule(length=100, context=50, lengths=(16, 64, 100))
    """
    shorter = tuple(length for length in LENGTHS if length < max_length)
    return WindowRule(max_length, max(1, max_length // 2), (*shorter, max_length))


@dataclass(frozen=True)
class Targets:
    """N targets by place from the row's first event, ascending by row and place."""

    row: Ints
    place: Ints
    read: Ints  # last visible place, -1 none


@dataclass(frozen=True)
class Windows:
    """M windows and, for each target, its window and its place there.

    Place i of window m is the row's place ``begin[m] + i``, and ``jump[m]`` further from ``jump_at[m]`` on.
    """

    row: Ints  # (M,)
    begin: Ints  # (M,)
    length: Ints  # (M,)
    jump_at: Ints  # (M,)
    jump: Ints  # (M,) mostly 0
    window: Ints  # (N,)
    place: Ints  # (N,)
    read: Ints  # (N,)


def cut(targets: Targets, rule: WindowRule) -> Windows:
    """Windows that hold every target once."""
    if len(targets.row) == 0:
        none = np.zeros(0, np.int64)
        return Windows(*(none,) * 8)
    first = np.flatnonzero(np.diff(targets.row, prepend=-1))
    last = np.append(first[1:], len(targets.row)) - 1
    spans = []  # (row, first target, past the last, begin, length, jump_at, jump)
    fits = targets.place[last] < rule.length
    for at in np.flatnonzero(~fits).tolist():
        spans += _cut_row(targets, int(first[at]), int(last[at]) + 1, rule)
    simple = np.zeros((int(fits.sum()), 7), np.int64)
    simple[:, 0], simple[:, 1], simple[:, 2] = targets.row[first[fits]], first[fits], last[fits] + 1
    simple[:, 4] = simple[:, 5] = targets.place[last[fits]] + 1
    table = np.concatenate([simple, np.array(spans, np.int64).reshape(-1, 7)])
    table = table[np.argsort(table[:, 1], kind="stable")]
    row, low, high, begin, length, jump_at, jump = table.T
    window = np.repeat(np.arange(len(table)), high - low)
    place = targets.place - begin[window]
    place -= np.where(place >= jump_at[window] + jump[window], jump[window], 0)
    read = np.where(targets.read >= 0, targets.read - begin[window], -1)
    return Windows(row, begin, length, jump_at, jump, window, place, read)


def _cut_row(targets: Targets, low: int, high: int, rule: WindowRule) -> list[tuple[int, ...]]:
    """Windows of the targets [low, high) of one row, the oldest first."""
    found: list[tuple[int, ...]] = []
    begin = 0
    while low < high:
        place, read = int(targets.place[low]), int(targets.read[low])
        if found or place >= rule.length:
            begin = max(read - rule.context + 1, 0)
        jump = place - read - 1 if place - begin >= rule.length else 0
        stop = low + int(np.searchsorted(targets.place[low:high], begin + rule.length + jump))
        if jump:  # what is jumped over must be invisible to every target of the window
            stop = min(stop, low + int(np.searchsorted(targets.read[low:high], read, side="right")))
        length = int(targets.place[stop - 1]) + 1 - begin - jump
        found.append(
            (int(targets.row[low]), low, stop, begin, length, read + 1 - begin if jump else length, jump)
        )
        low = stop
    return found
