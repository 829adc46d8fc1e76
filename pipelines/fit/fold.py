"""What workers need to turn counts into vectors; no SciPy here, for a worker's import takes seconds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
