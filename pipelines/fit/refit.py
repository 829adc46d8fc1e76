"""Theme ids over refits: theme 7 stays theme 7 where a new cluster is its continuation."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from features.codes import FIRST_INDEX
from features.vectors import VectorTable

SAME_THEME: Final = 0.6
"""Least cosine of two centroids that count as one theme over a refit (our choice)."""

ALIGN_ROWS: Final = 200_000
"""Most shared vectors by which two spaces are aligned: the lowest indices, the earliest named."""


def shared_rows(old: VectorTable, new: VectorTable) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Vectors (n, D_old) and (n, D_new) of the categories and items that both tables hold."""
    pairs = []
    for one, other in ((old.category_row, new.category_row), (old.item_row, new.item_row)):
        reach = min(len(one), len(other))
        both = np.flatnonzero((one[:reach] > 0) & (other[:reach] > 0))
        pairs.append((one[both], other[both]))
    old_rows = np.concatenate([pair[0] for pair in pairs])[:ALIGN_ROWS]
    new_rows = np.concatenate([pair[1] for pair in pairs])[:ALIGN_ROWS]
    return old.vectors[old_rows].astype(np.float64), new.vectors[new_rows].astype(np.float64)


def carry_over(
    centroids: NDArray[np.float64], old: NDArray[np.float64], new: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Old centroids (K, D_old) in the new space, as unit rows (K, D_new).

    Each fit has its own basis. The rotation that takes the old vectors (n, D_old) of shared items
    closest to their new ones (n, D_new) is the orthogonal Procrustes solution (Schönemann 1966); the
    narrower space is padded with zeros. The old centroids are rotated rather than the new vectors, so
    that a fit's vectors and distances are its own, whatever came before it.
    """
    from scipy.linalg import orthogonal_procrustes  # noqa: PLC0415

    width = max(old.shape[1], new.shape[1])
    with threadpool_limits(limits=1):
        rotation, _ = orthogonal_procrustes(_pad(old, width), _pad(new, width))
        moved = (_pad(centroids, width) @ rotation)[:, : new.shape[1]]
    norm = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.asarray(moved / np.where(norm > 0, norm, 1.0))


def match_themes(
    old_centroids: NDArray[np.float64],
    old_ids: NDArray[np.int32],
    new_centroids: NDArray[np.float64],
    last_used: int,
    threshold: float = SAME_THEME,
) -> tuple[NDArray[np.int32], dict[int, float]]:
    """Ids of the new themes (K_new,), and the cosine for each id that goes on.

    The one-to-one assignment of largest total cosine (Kuhn 1955) among unit rows of one space; pairs
    below ``threshold`` are parted. New themes without a partner get ids after ``last_used``, the
    largest id ever used, in their order: an ended theme's id never comes back.
    """
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415

    cosine = new_centroids @ old_centroids.T  # (K_new, K_old)
    ids = np.zeros(len(new_centroids), dtype=np.int32)
    kept: dict[int, float] = {}
    # Pairs below the threshold are worth nothing, so that they cannot outbid a continuation.
    rows, columns = linear_sum_assignment(np.where(cosine >= threshold, cosine, 0.0), maximize=True)
    for new, old in zip(rows, columns, strict=True):
        if cosine[new, old] >= threshold:
            ids[new] = old_ids[old]
            kept[int(old_ids[old])] = round(float(cosine[new, old]), 6)
    fresh = np.flatnonzero(ids == 0)
    first = max(last_used + 1, FIRST_INDEX, int(old_ids.max(initial=0)) + 1)
    ids[fresh] = np.arange(first, first + len(fresh))
    return ids, dict(sorted(kept.items()))


def _pad(rows: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    return np.pad(rows, ((0, 0), (0, width - rows.shape[1])))
