"""Vectors without learning: a session's interest is its histogram of categories."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.codes import FIRST_INDEX
from features.vectors import VectorTable

WIDEST: Final = 256
"""Most dimensions; with more categories than these, signs take the place of one-hot vectors."""


def category_table(categories: NDArray[np.int32]) -> VectorTable:
    """Every category's vector; items take their category's, those without have none.

    Up to 256 categories: one-hot, so that cosines are those of histograms. More: 256 signs drawn by
    the category's index, ±1/16 each; cosines of histograms are then met with a standard error of at
    most 1/16 (Achlioptas, JCSS 2003). Both lie on the grid as they are.
    """
    named = np.sort(categories[categories >= FIRST_INDEX])
    if len(named) <= WIDEST:
        vectors = np.eye(max(len(named), 1))[: len(named)]
    else:
        vectors = np.stack([_signs(int(index)) for index in named]) / np.sqrt(WIDEST)
    no_items = np.zeros(0, dtype=np.int32)
    return VectorTable.build(no_items, np.zeros((0, vectors.shape[1])), named, vectors)


def _signs(index: int) -> NDArray[np.float64]:
    """256 signs from a generator seeded with the index; PCG64's stream is part of NumPy's promise."""
    return np.random.Generator(np.random.PCG64(index)).integers(0, 2, WIDEST) * 2.0 - 1.0
