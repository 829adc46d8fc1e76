"""Cosine similarity of bags of events, by their categories or by their items' vectors."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from features.codes import FIRST_INDEX

Similarity = Callable[[NDArray[np.int64], NDArray[np.int64], int], NDArray[np.float64]]
"""Cosines of bag i on the left with bag i on the right: (events (E,), bag of each (E,), bags) -> (bags,);
bag numbers below ``bags`` are left ones, bag + ``bags`` the right ones. NaN where a bag is empty."""


def category_similarity(category: NDArray[np.int32]) -> Similarity:
    """Cosine of category histograms; an event without a category counts in none."""
    width = int(category.max(initial=0)) + 1

    def similarity(events: NDArray[np.int64], bag: NDArray[np.int64], bags: int) -> NDArray[np.float64]:
        named = category[events] >= FIRST_INDEX
        key, count = np.unique(bag[named] * width + category[events[named]], return_counts=True)
        square = np.bincount(key // width, count.astype(np.float64) ** 2, 2 * bags).astype(np.float64)
        split = np.searchsorted(key, bags * width)
        left, right = key[:split], key[split:] - bags * width
        _, at, to = np.intersect1d(left, right, assume_unique=True, return_indices=True)
        product = count[:split][at] * count[split:][to].astype(np.float64)
        dot = np.bincount(left[at] // width, product, bags).astype(np.float64)
        return _cosine(dot, square[:bags], square[bags:])

    return similarity


def vector_similarity(vectors: NDArray[np.float32], rows: NDArray[np.int32]) -> Similarity:
    """Cosine of sums of item vectors; an event without a vector counts in none."""

    def similarity(events: NDArray[np.int64], bag: NDArray[np.int64], bags: int) -> NDArray[np.float64]:
        sums = np.zeros((2 * bags, vectors.shape[1]))
        order = np.argsort(bag, kind="stable")
        bag, events = bag[order], events[order]
        starts = np.flatnonzero(np.diff(bag, prepend=-1))
        if len(starts):
            sums[bag[starts]] = np.add.reduceat(vectors[rows[events]], starts, axis=0, dtype=np.float64)
        left, right = sums[:bags], sums[bags:]
        return _cosine((left * right).sum(1), (left**2).sum(1), (right**2).sum(1))

    return similarity


def _cosine(
    dot: NDArray[np.float64], left: NDArray[np.float64], right: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Dot products over roots of squared lengths; NaN where a length is zero."""
    square = left * right
    return np.asarray(np.where(square > 0, dot, np.nan) / np.sqrt(np.where(square > 0, square, 1.0)))
