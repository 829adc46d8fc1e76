"""Counting keys inside a worker, so that only sums travel."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

FULL: Final = 4_000_000
"""Distinct keys after which a worker hands on what it has; 64 MB."""


class Tally:
    """Exact counts of 64-bit keys, in bounded memory: ``full`` says when to ``drain``."""

    def __init__(self) -> None:
        self._hold(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))

    def add(self, keys: NDArray[np.int64]) -> None:
        """Count every key (n,) once per occurrence."""
        if not len(keys):
            return
        distinct, counts = np.unique(keys, return_counts=True)
        self._keys.append(distinct)
        self._counts.append(counts.astype(np.int64))
        self._held += len(distinct)
        if self._held > 2 * max(self._merged, FULL // 4):
            self._merge()

    @property
    def full(self) -> bool:
        """Whether the distinct keys fill the memory meant for them."""
        return self._merged >= FULL

    def drain(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ascending distinct keys and their counts; the tally is empty afterwards."""
        self._merge()
        keys, counts = self._keys[0], self._counts[0]
        self._hold(keys[:0], counts[:0])
        return keys, counts

    def _merge(self) -> None:
        distinct, place = np.unique(np.concatenate(self._keys), return_inverse=True)
        sums = np.zeros(len(distinct), dtype=np.int64)
        np.add.at(sums, place, np.concatenate(self._counts))
        self._hold(distinct, sums)

    def _hold(self, keys: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        self._keys, self._counts = [keys], [counts]
        self._held = self._merged = len(keys)


def pack(left: NDArray[np.int32], right: NDArray[np.int32]) -> NDArray[np.int64]:
    """Two non-negative 32-bit numbers as one key, ordered by left, then right."""
    return (left.astype(np.int64) << np.int64(32)) | right.astype(np.int64)


def unpack(keys: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The numbers that ``pack`` joined."""
    return (keys >> np.int64(32)).astype(np.int32), (keys & np.int64(0xFFFFFFFF)).astype(np.int32)
