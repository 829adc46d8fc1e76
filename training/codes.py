"""Compact codes: what training names with small numbers, from what the pipeline named for good."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.codes import FIRST_INDEX, PADDING, UNKNOWN

Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Codes:
    """Codes of one kind: 0 padding, 1 unknown or too rare, 2 … by descending count.

    ``index[c]`` is the pipeline's index of code c (0 and 1 stand for themselves), ``count[c]`` how
    often it occurs; ``count[1]`` sums up what has no code of its own.
    """

    index: Ints  # (V,)
    count: NDArray[np.int64]  # (V,)

    def __post_init__(self) -> None:
        if self.index[:FIRST_INDEX].tolist() != [PADDING, UNKNOWN] or len(self.index) != len(self.count):
            raise ValueError("codes 0 and 1 must stand for themselves, with one count for each code")
        if len(np.unique(self.index)) != len(self.index):
            raise ValueError("an index has two codes")

    @classmethod
    def of(cls, count_of: NDArray[np.int64], min_count: int) -> "Codes":
        """Codes from counts by the pipeline's index: most frequent first, ties by index.

        >>> Codes.of(np.array([0, 5, 1, 7, 2, 7]), 2).index.tolist()
        [0, 1, 3, 5, 4]
        """
        kept = np.flatnonzero(count_of >= max(min_count, 1))
        kept = kept[kept >= FIRST_INDEX]
        kept = kept[np.argsort(-count_of[kept], kind="stable")]
        unknown = int(count_of[UNKNOWN:].sum() - count_of[kept].sum())
        index = np.concatenate([[PADDING, UNKNOWN], kept]).astype(np.int32)
        return cls(index, np.concatenate([[0, unknown], count_of[kept]]).astype(np.int64))

    @property
    def size(self) -> int:
        """V, codes 0 and 1 included."""
        return len(self.index)

    def lookup(self) -> Ints:
        """Code of each index up to the largest known one, and 1 in a last place for all beyond.

        >>> Codes(np.array([0, 1, 4]), np.array([0, 0, 9])).lookup().tolist()
        [0, 1, 1, 1, 2, 1]
        """
        table = np.full(int(self.index.max()) + 2, UNKNOWN, np.int32)
        table[self.index] = np.arange(self.size)
        return table


def encode(lookup: Ints, index: Ints) -> Ints:
    """Codes of indices of any shape; an index that the lookup does not reach is unknown."""
    codes: Ints = lookup[np.minimum(index, len(lookup) - 1)]
    return codes
