"""From co-occurrence counts to vectors: positive PMI and truncated SVD.

Levy, Goldberg and Dagan, TACL 2015: PPMI with smoothed contexts (exponent 0.75), eigenvalue weighting
0.5. Folding further rows in is the standard out-of-sample extension of an SVD: a row times the right
factors.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from pipelines.fit.cooccurrence import Pairs
from pipelines.fit.fold import Factors

CONTEXT_EXPONENT: Final = 0.75
"""Contexts weigh as their count to this power: rare ones give less extreme associations."""


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
    from sklearn.utils.extmath import randomized_svd  # noqa: PLC0415

    with threadpool_limits(limits=1):
        _, singular, right = randomized_svd(symmetric, n_components=rank, random_state=seed)
    useful = singular > singular[:1] * 1e-6
    weights = np.where(useful, 1.0 / np.sqrt(np.where(useful, singular, 1.0)), 0.0)
    projection = np.zeros((contexts, dimensions))
    projection[:, :rank] = right.T * weights
    return Factors(share, projection), np.asarray(symmetric @ projection)
