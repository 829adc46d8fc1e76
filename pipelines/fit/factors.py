"""From co-occurrence counts to vectors: positive PMI, truncated SVD and folding further rows in.

Levy, Goldberg and Dagan, TACL 2015: PPMI with smoothed contexts (exponent 0.75), eigenvalue weighting
0.5. Folding in is the standard out-of-sample extension of an SVD: a row times the right factors.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from pipelines.fit.cooccurrence import Pairs

CONTEXT_EXPONENT: Final = 0.75
"""Contexts weigh as their count to this power: rare ones give less extreme associations."""


@dataclass(frozen=True)
class Factors:
    """What turns a row of counts over H contexts into a vector: ``ppmi(row) @ projection``."""

    context_share: NDArray[np.float64]  # (H,), smoothed share of each context, 0 where it never occurs
    projection: NDArray[np.float64]  # (H, D), right singular vectors by singular value to the power -1/2

    def ppmi(
        self, context: NDArray[np.int32], n: NDArray[np.int64], row_total: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Positive PMI of counts ``n`` of rows that sum to ``row_total``; all (pairs,)."""
        share = n / (row_total * self.context_share[context])
        return np.maximum(np.log(share), 0.0)


def factorise(pairs: Pairs, contexts: int, dimensions: int, seed: int) -> tuple[Factors, NDArray[np.float64]]:
    """Factors of the head and its rows' vectors (H, D), not normalised; zero without neighbours.

    Runs in one process and one thread: then its sums have one order, and a repeat gives the same bits.
    Memory: about 40 bytes a pair and 50 a context and dimension.
    """
    counts = sparse.coo_array((pairs.n.astype(np.float64), (pairs.left, pairs.right)), (contexts, contexts))
    symmetric = sparse.csr_array(counts + counts.T)
    symmetric.sort_indices()
    total = np.asarray(symmetric.sum(axis=1)).ravel()
    smoothed = total**CONTEXT_EXPONENT * (total > 0)
    share = smoothed / max(smoothed.sum(), 1.0)
    if not symmetric.nnz:
        return Factors(share, np.zeros((contexts, dimensions))), np.zeros((contexts, dimensions))
    row = np.repeat(np.arange(contexts), np.diff(symmetric.indptr))
    bare = Factors(share, np.zeros((contexts, 0)))
    symmetric.data = bare.ppmi(symmetric.indices, symmetric.data, total[row])
    symmetric.eliminate_zeros()
    rank = min(dimensions, contexts)
    with threadpool_limits(limits=1):
        _, singular, right = randomized_svd(symmetric, n_components=rank, random_state=seed)
    useful = singular > singular[:1] * 1e-6
    weights = np.where(useful, 1.0 / np.sqrt(np.where(useful, singular, 1.0)), 0.0)
    projection = np.zeros((contexts, dimensions))
    projection[:, :rank] = right.T * weights
    return Factors(share, projection), np.asarray(symmetric @ projection)


def fold_in(
    factors: Factors,
    starts: NDArray[np.int64],
    context: NDArray[np.int32],
    n: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Vectors (rows, D), not normalised, of rows of counts; ``starts`` (rows,) are their first pairs."""
    totals = np.add.reduceat(n, starts)
    row_total = np.repeat(totals, np.diff(starts, append=len(n)))
    weight = factors.ppmi(context, n, row_total)
    return np.asarray(np.add.reduceat(weight[:, None] * factors.projection[context], starts, axis=0))


def shrink(
    own: NDArray[np.float64], count: NDArray[np.int64], prior: NDArray[np.float64], strength: float
) -> NDArray[np.float64]:
    """(count · own + strength · prior) / (count + strength), row by row; shapes (n, D), (n,), (n, D).

    Rows of ``own`` and ``prior`` are unit vectors or zero; a zero one has no say.
    """
    weight = count * own.any(axis=1)
    prior_weight = strength * prior.any(axis=1)
    total = weight + prior_weight
    mixed = weight[:, None] * own + prior_weight[:, None] * prior
    return np.asarray(mixed / np.where(total > 0, total, 1.0)[:, None])
