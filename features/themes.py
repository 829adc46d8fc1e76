"""Theme of a session so far: the centroid nearest to the mean of its vectors up to an event."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.codes import NO_THEME

SLICE_EVENTS: Final = 4_096
"""Events whose running sums are held at once; 1 MiB at D = 32 stays in the cache."""


def nearest_theme(
    sums: NDArray[np.float64], centroids: NDArray[np.float64], theme_ids: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Theme of each sum of vectors by cosine; shapes (n, D), (K, D), (K,) -> (n,).

    Centroids are unit vectors on the grid, ids ascend; equal cosines give the lowest id, a zero sum
    (no vector yet) ``NO_THEME``. A sum's own length does not change the order, so none is divided by it.
    """
    if not len(theme_ids):
        return np.full(len(sums), NO_THEME, dtype=np.int32)
    if (np.diff(theme_ids) <= 0).any():
        raise ValueError("theme ids must ascend: the first of equally near centroids wins")
    scores = sums @ centroids.T  # (n, K)
    best = scores.argmax(axis=1)
    themes: NDArray[np.int32] = theme_ids[best].astype(np.int32)
    level = np.flatnonzero(scores[np.arange(len(sums)), best] == 0)  # zero, or at right angles to all
    themes[level[~sums[level].any(axis=1)]] = NO_THEME
    return themes


def running_themes(
    vectors: NDArray[np.float32],
    rows: NDArray[np.int32],
    starts: NDArray[np.int64],
    centroids: NDArray[np.float64],
    theme_ids: NDArray[np.int32],
    *,
    slice_events: int = SLICE_EVENTS,
) -> NDArray[np.int32]:
    """Theme of each event's session up to and including the event; (N,).

    ``rows`` (N,) point into ``vectors`` (R, D), 0 is none; ``starts`` are the sessions' first events,
    ascending from 0. Works through slices with the open session's sum carried on; memory is one slice.
    """
    themes = np.empty(len(rows), dtype=np.int32)
    carried = np.zeros(vectors.shape[1])  # sum of the open session before the slice
    for low in range(0, len(rows), slice_events):
        high = min(low + slice_events, len(rows))
        sums = vectors.take(rows[low:high], axis=0).astype(np.float64)  # (slice, D)
        np.cumsum(sums, axis=0, out=sums)
        begun = starts[np.searchsorted(starts, low) : np.searchsorted(starts, high)] - low
        before = np.where(begun[:, None] > 0, sums[begun - 1], 0.0)  # what precedes each new session
        lengths = np.diff(begun, prepend=0, append=high - low)
        sums -= np.repeat(np.concatenate([-carried[None], before]), lengths, axis=0)
        carried = sums[-1].copy()
        themes[low:high] = nearest_theme(sums, centroids, theme_ids)
    return themes


def session_sums(
    vectors: NDArray[np.float32], rows: NDArray[np.int32], starts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Sum of each session's vectors, its interest but for the length; (S, D)."""
    if not len(starts):
        return np.zeros((0, vectors.shape[1]))
    return np.asarray(np.add.reduceat(vectors[rows], starts, axis=0, dtype=np.float64))
