"""Small fits: three themes at right angles, and hop nulls of every kind."""

from collections.abc import Sequence

import numpy as np

from features.hops import PAIRS, HopNull
from features.tags import FittedThemes
from features.vectors import GRID
from tests.features.histories import grid_table

ONE = 65536
A, B, C = (2, 2), (3, 2), (4, 3)  # three items at right angles
OPPOSITE_A, UNSEEN_IN_2, NONE = (5, 2), (9, 2), (9, 1)
ITEMS = {2: [ONE, 0, 0], 3: [0, ONE, 0], 4: [0, 0, ONE], 5: [-ONE, 0, 0]}
CATEGORIES = {2: [0, ONE // 2, ONE // 4]}
IDS = [2, 3, 7]
CENTROIDS = [[ONE, 0, 0], [0, ONE, 0], [0, 0, ONE]]


def fitted(nulls: dict[int, Sequence[float]] | None = None, alpha: float = 0.05) -> FittedThemes:
    """A fit with a null for some class pairs; by default distances up to 0.9 in all of them."""
    if nulls is None:
        nulls = {pair: np.linspace(0, 0.9, 300).tolist() for pair in range(PAIRS)}
    pair = np.concatenate([np.full(len(d), code) for code, d in nulls.items()]).astype(np.int64)
    distance = np.concatenate([np.array(d, dtype=float) for d in nulls.values()])
    null = HopNull.fit(pair, distance, np.arange(len(pair)))
    centroids = np.array(CENTROIDS, dtype=float) * GRID
    return FittedThemes(grid_table(ITEMS, CATEGORIES), centroids, np.array(IDS, np.int32), null, alpha)


def random_fit(seed: int) -> FittedThemes:
    """Nulls of different sizes and ties, some of them too small or out of alpha's reach."""
    rng = np.random.default_rng(seed)
    sizes = rng.choice([0, 150, 199, 200, 400], PAIRS, p=[0.1, 0.1, 0.1, 0.3, 0.4])
    nulls = {
        pair: np.round(rng.beta(1, 3, size) * rng.choice([0.1, 1.0, 3.0]), 2).clip(0, 1).tolist()
        for pair, size in enumerate(sizes)
    }
    return fitted(nulls, alpha=0.1)
