"""Themes: clusters of session interests by k-means, and their number."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from features.codes import FIRST_INDEX
from features.themes import nearest_theme
from features.vectors import unit
from pipelines.fit.options import ThemeOptions

SCREEN_SESSIONS: Final = 20_000
"""Sessions that KMeans is given, whatever the number of themes; the polish sees all."""

SCREEN_RESTARTS: Final = 2
"""Seeds that each candidate number of themes is tried with."""

KMEANS_STEPS: Final = 30
"""Most steps of k-means from one seed; the polish goes on from there."""

POLISH_STEPS: Final = 10
"""Most steps by which the best centroids move to the means of all their sessions."""

SILHOUETTE_SESSIONS: Final = 3_000
"""Sessions on which silhouettes are computed; each needs its distance to all others."""

PATIENCE: Final = 2
"""Candidates in a row that may be worse than the best before the search ends."""


@dataclass(frozen=True)
class Clusters:
    """K themes before they are named: centroids (K, D), unit rows on the grid, largest support first."""

    centroids: NDArray[np.float64]
    sessions: NDArray[np.int64]  # (K,) sampled sessions nearest to each
    silhouette: float  # mean over a sample, cosine distance; NaN with fewer than two themes
    theme_silhouette: NDArray[np.float64]  # (K,) mean of each theme's; NaN where the sample has none
    tried: dict[int, float]  # mean silhouette of each number of themes tried


def cluster(interests: NDArray[np.float64], options: ThemeOptions) -> Clusters:
    """Cluster interests (n, D), unit rows in hash order.

    k-means (scikit-learn; of unit rows, so that distances are cosines') on the first 20,000 interests with
    ``restarts`` seeds: one alone often ends with two themes merged and another parted, which costs 0.06 of
    ARI. The centroids of lowest cost then move to the means of all interests nearest to them until they
    stand still. In this process: on so few rows each of Spark ML's steps costs more than all of them do here.

    With ``count`` "auto" each candidate number, ascending, is fitted with two seeds; the best mean
    silhouette (Rousseeuw 1987) of the first 3,000 interests wins, and the search ends after two worse
    candidates in a row.
    """
    tried: dict[int, float] = {}
    screened = interests[:SCREEN_SESSIONS]
    distinct = len(np.unique(screened, axis=0))
    if options.count == "auto":
        tried = _try_counts(screened, distinct, options)
        count = max(tried, key=lambda k: (tried[k], -k))
    else:
        count = options.count
    centroids = _fit(screened, min(count, distinct), options.seed, options.restarts)
    if not len(centroids):  # fewer than two interests that differ: at most one theme
        centroids = screened[:distinct]
    centroids, sessions = _by_support(polish(centroids, interests), interests)
    values, labels = silhouettes(interests[:SILHOUETTE_SESSIONS], centroids)
    per_theme = [values[labels == k].mean() if (labels == k).any() else np.nan for k in range(len(centroids))]
    overall = float(values.mean()) if len(values) else float("nan")
    return Clusters(centroids, sessions, overall, np.array(per_theme, dtype=np.float64), tried)


def silhouettes(
    interests: NDArray[np.float64], centroids: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Silhouette by cosine distance and nearest centroid of each interest; both empty if pointless."""
    from sklearn.metrics import silhouette_samples  # noqa: PLC0415

    labels = assign(interests, centroids)
    if not 2 <= len(np.unique(labels)) < len(labels):
        return np.zeros(0), np.zeros(0, dtype=np.int64)
    with threadpool_limits(limits=1):
        distances = np.maximum(1.0 - interests @ interests.T, 0.0)
        np.fill_diagonal(distances, 0.0)
        return np.asarray(silhouette_samples(distances, labels, metric="precomputed")), labels


def assign(interests: NDArray[np.float64], centroids: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number of the centroid nearest to each interest; (n,)."""
    numbers = np.arange(FIRST_INDEX, FIRST_INDEX + len(centroids), dtype=np.int32)
    return nearest_theme(interests, centroids, numbers).astype(np.int64) - FIRST_INDEX


def polish(centroids: NDArray[np.float64], interests: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centroids (K, D) moved to the means of their interests (n, D) until still; unit rows, ascending.

    Interests lie on the grid, so their sums are exact and the order of rows does not matter.
    """
    for _ in range(POLISH_STEPS if len(centroids) else 0):
        labels = assign(interests, centroids)
        sums = np.zeros_like(centroids)
        for d in range(interests.shape[1]):
            sums[:, d] = np.bincount(labels, interests[:, d], len(centroids))
        moved = np.where(sums.any(axis=1, keepdims=True), unit(sums), centroids)
        if (moved == centroids).all():
            break
        centroids = moved
    return np.unique(centroids, axis=0)


def _try_counts(interests: NDArray[np.float64], distinct: int, options: ThemeOptions) -> dict[int, float]:
    tried: dict[int, float] = {}
    worse = 0
    for count in sorted(set(options.candidates)):
        if tried and count > distinct:
            break
        centroids = _fit(interests, min(count, distinct), options.seed, SCREEN_RESTARTS)
        values, _ = silhouettes(interests[:SILHOUETTE_SESSIONS], centroids)
        score = float(values.mean()) if len(values) else -1.0
        worse = worse + 1 if tried and score <= max(tried.values()) else 0
        tried[count] = score
        if worse == PATIENCE:
            break
    return tried


def _fit(interests: NDArray[np.float64], count: int, seed: int, restarts: int) -> NDArray[np.float64]:
    """Centroids (K, D) of the seed with the lowest cost, as unit rows on the grid; K = 0 below two.

    One thread: more would add up in another order, and give other themes on other machines.
    """
    from sklearn.cluster import KMeans  # noqa: PLC0415

    best, lowest = np.zeros((0, 0)), np.inf
    with threadpool_limits(limits=1):
        for restart in range(restarts if count >= 2 else 0):
            model = KMeans(count, n_init=1, max_iter=KMEANS_STEPS, random_state=seed + restart).fit(interests)
            if model.inertia_ < lowest:
                lowest, best = model.inertia_, model.cluster_centers_
    return np.unique(unit(best), axis=0) if len(best) else best


def _by_support(
    centroids: NDArray[np.float64], interests: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Centroids that are nearest to some session, most sessions first, and these numbers."""
    if not len(centroids):
        return np.zeros((0, interests.shape[1])), np.zeros(0, dtype=np.int64)
    support = np.bincount(assign(interests, centroids), minlength=len(centroids))
    order = np.argsort(-support, kind="stable")  # rows ascend before, so ties have one order
    order = order[support[order] > 0]
    return centroids[order], support[order].astype(np.int64)
