"""Is one model better than another: paired hierarchical bootstrap over (seed, user).

Two models answer the same targets under the same training seeds; d is the difference of their per-target
metric. Test users are the same under every seed, so seeds and users are *crossed*: resampling users anew
within each seed would treat a user's lasting preference for a model as fresh evidence under every seed and
give intervals that are too short. Seeds and users are therefore drawn independently, each with replacement,
and a cell counts (draws of its seed) x (draws of its user) times: the pigeonhole bootstrap (Owen 2007).

With five seeds that bootstrap alone is off in both directions: it draws too little variance between seeds
(by (S-1)/S, and percentiles know no t distribution), and it counts the variance within cells three times.
Deviations from the estimate are therefore scaled by one factor to the unbiased two-way variance
V = V_seed + V_user - V_cell, with a t quantile at Satterthwaite's degrees of freedom in place of the
normal one.
The bootstrap gives the interval its shape, the analysis of variance its width. Our choice; its
coverage is tested against simulated truth.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
DRAWN_AT_ONCE = 1 << 22
"""User weights held at a time, 32 MiB (our choice)."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval of the mean difference; with one seed it speaks of users alone."""

    estimate: float
    low: float
    high: float
    level: float
    seeds: int
    users: int
    targets: int

    @property
    def above_zero(self) -> bool:
        """Whether the difference is established to be positive."""
        return self.low > 0

    def within(self, margin: float) -> bool:
        """Whether the whole interval lies within ± margin; of a 90 % one, equivalence at 5 % (TOST)."""
        return -margin <= self.low and self.high <= margin


class _Cells(NamedTuple):
    """Sums of differences and numbers of targets by seed and user, both (S, U) float64."""

    difference: Floats
    targets: Floats


def bootstrap(
    difference: Floats,
    seed: Ints,
    user: Ints,
    *,
    level: float = 0.95,
    resamples: int = 2_000,
    random_seed: int = 0,
) -> Interval:
    """Confidence interval of the mean over targets of ``difference`` (N,), with its seed and user (N,).

    ValueError with fewer than two users, or a value that is not finite.
    """
    if not np.isfinite(difference).all():
        raise ValueError("a difference is not finite; compare metrics such as hr_10, not ranks")
    cells = _cells(difference, seed, user)
    seeds, users = cells.difference.shape
    if users < 2:
        raise ValueError(f"{users} users cannot be resampled; at least 2 are needed")
    estimate = float(difference.mean())
    drawn = _resampled(cells, resamples, np.random.default_rng(random_seed)) - estimate
    scale = _calibration(cells, estimate, drawn, level)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]) * scale + estimate
    return Interval(estimate, float(low), float(high), level, seeds, users, len(difference))


def _cells(difference: Floats, seed: Ints, user: Ints) -> _Cells:
    _, s = np.unique(seed, return_inverse=True)
    names, u = np.unique(user, return_inverse=True)
    shape = (int(s.max(initial=-1)) + 1, len(names))
    at = s * shape[1] + u
    size = shape[0] * shape[1]
    targets = np.bincount(at, minlength=size).astype(np.float64)
    total: Floats = np.bincount(at, difference, size).astype(np.float64)
    return _Cells(total.reshape(shape), targets.reshape(shape))


def _resampled(cells: _Cells, resamples: int, random: np.random.Generator) -> Floats:
    """(resamples,) means over targets under random weights of seeds and users."""
    seeds, users = cells.difference.shape
    means = np.empty(resamples)
    step = max(1, DRAWN_AT_ONCE // users)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        by_seed = random.multinomial(seeds, np.full(seeds, 1 / seeds), size).astype(np.float64)  # (b, S)
        picks = random.integers(users, size=(size, users)) + np.arange(size)[:, None] * users
        by_user = np.bincount(picks.ravel(), minlength=size * users).reshape(size, users)  # (b, U)
        total = np.einsum("bu,bu->b", by_seed @ cells.difference, by_user)
        count = np.einsum("bu,bu->b", by_seed @ cells.targets, by_user)
        # A draw may hold no target at all where few cells have any; it then says nothing new.
        mean = cells.difference.sum() / cells.targets.sum()
        means[start : start + size] = np.divide(total, count, out=np.full(size, mean), where=count > 0)
    return means


def _calibration(cells: _Cells, estimate: float, drawn: Floats, level: float) -> float:
    """Factor that gives the drawn deviations the unbiased variance and the t distribution's tails."""
    spread = float(drawn.std())
    if spread == 0:
        return 1.0
    seeds, users = cells.difference.shape
    # What each cell moves the estimate by: linear in the deviations, sums to 0.
    moves = (cells.difference - estimate * cells.targets) / cells.targets.sum()  # (S, U)
    by_user = _variance(moves.sum(0), users - 1)
    if seeds == 1:
        variance, degrees = by_user, users - 1.0
    else:
        by_seed = _variance(moves.sum(1), seeds - 1)
        rest = moves - moves.mean(0) - moves.mean(1, keepdims=True) + moves.mean()
        by_cell = _variance(rest.ravel(), (seeds - 1) * (users - 1))
        variance = max(by_seed + by_user - by_cell, by_seed, by_user)
        degrees = variance**2 / (
            by_seed**2 / (seeds - 1) + by_user**2 / (users - 1) + by_cell**2 / ((seeds - 1) * (users - 1))
        )
    upper = (1 + level) / 2
    return float(np.sqrt(variance) / spread * t.ppf(upper, degrees) / norm.ppf(upper))


def _variance(moves: Floats, degrees: int) -> float:
    """Variance of a sum of exchangeable moves."""
    return float((moves**2).sum() * len(moves) / degrees)
