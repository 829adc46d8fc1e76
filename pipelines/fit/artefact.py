"""A fit: the frozen result of learning, named by its content."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.codes import FIRST_INDEX
from features.hops import HopNull
from features.tags import FittedThemes
from features.vectors import VectorTable
from pipelines.fit.counts import Frequencies
from pipelines.fit.options import FitOptions


@dataclass(frozen=True)
class Theme:
    """One theme, for people: how large it is and what its sessions hold more often than others.

    ``top_items`` and ``top_categories`` are (index, score), best first; the score is
    p · ln(p / q) with p the share of the theme's events and q that of all themes' (our choice: it
    weighs how typical an index is with how much of the theme it makes up).
    """

    theme_id: int
    sessions: int  # of the sample
    share: float  # of the sampled sessions
    silhouette: float | None  # None where the silhouette's sample has no session of it
    top_items: tuple[tuple[int, float], ...]
    top_categories: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Drift:
    """How a refit's themes differ from those of the fit before."""

    previous_fit: str
    kept: dict[int, float]  # cosine of the old and the new centroid of each theme that went on
    born: tuple[int, ...]
    ended: tuple[int, ...]
    shared_vectors: int  # items and categories by which the two spaces were aligned
    changed_share: float | None  # of sampled sessions: another theme id than under the old centroids


@dataclass(frozen=True)
class Fit:
    """Everything learned from events before ``train_end``."""

    options: FitOptions
    train_end: int | None  # µs; None: all events
    table: VectorTable
    centroids: NDArray[np.float64]  # (K, D), ascending by theme id
    themes: tuple[Theme, ...]  # K, ascending by theme id
    silhouette: float | None
    counts_tried: dict[int, float]  # mean silhouette of each number of themes tried
    last_theme_id: int  # the largest id that this fit or one before it used
    hop_null: HopNull
    items: Frequencies
    categories: Frequencies
    types: Frequencies
    sizes: dict[str, int]  # events, sessions, sampled sessions, items with a vector …
    drift: Drift | None = None

    @property
    def theme_ids(self) -> NDArray[np.int32]:
        """Ids of the themes, ascending; (K,)."""
        return np.array([theme.theme_id for theme in self.themes], dtype=np.int32)

    @property
    def fitted(self) -> FittedThemes:
        """What tagging needs."""
        return FittedThemes(
            self.table, self.centroids, self.theme_ids, self.hop_null, self.options.hops.alpha
        )

    @property
    def fit_id(self) -> str:
        """16 hex digits of a hash of the options and all that was learned: a repeat has the same."""
        plain = {
            "options": self.options.to_json(),
            "train_end": self.train_end,
            "theme_ids": self.theme_ids.tolist(),
            "last_theme_id": self.last_theme_id,
            "sizes": self.sizes,
        }
        digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
        arrays: list[NDArray[Any]] = [
            self.table.vectors,
            self.table.item_row,
            self.table.category_row,
            self.centroids,
            self.hop_null.distance,
            self.hop_null.offsets,
        ]
        for frequencies in (self.items, self.categories, self.types):
            arrays += [frequencies.index, frequencies.count]
        for array in arrays:
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]


def top(
    index: NDArray[np.int32], n: NDArray[np.int64], overall: NDArray[np.int64], most: int = 10
) -> tuple[tuple[int, float], ...]:
    """The ``most`` indices of highest p · ln(p / q), ties by index.

    ``n`` (m,) counts a theme's events of each ``index`` (m,); ``overall[i]`` those of index i in all
    themes.
    """
    if not len(index):
        return ()
    p, q = n / n.sum(), overall[index] / overall[FIRST_INDEX:].sum()
    score = np.round(p * np.log(p / q), 12)
    order = np.lexsort((index, -score))[:most]
    return tuple((int(index[at]), float(score[at])) for at in order)
