"""Ranking metrics of labelled candidates: AUC, GAUC, log loss and normalised entropy.

No data set at hand has impressions, so negatives are drawn (``training.evaluate.candidates``) and every
figure is a *sampled-negative* one: comparable between models on the same draws, not with figures on
impressions.
AUC is our own rank statistic (Mann-Whitney, ties count half): torchmetrics squashes logits through a
float32 sigmoid first, which makes ties of large ones, and has no grouped form.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, xlogy
from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]


class GroupAuc(NamedTuple):
    """AUC of each of G groups, NaN where a group has only one class, and its numbers of candidates."""

    group: Ints  # (G,) ascending
    auc: Floats  # (G,)
    positives: Ints  # (G,)
    negatives: Ints  # (G,)


def group_auc(score: Floats, label: Flags, group: Ints) -> GroupAuc:
    """AUC within each group, from N scores, labels and group numbers: P(positive above negative)."""
    if np.isnan(score).any():
        raise ValueError(f"{int(np.isnan(score).sum())} of {len(score)} scores are not a number")
    order = np.lexsort((score, group))
    score, label, group = score[order], label[order], group[order]
    opens = np.ones(len(score), dtype=bool)
    opens[1:] = group[1:] != group[:-1]
    runs = opens.copy()
    runs[1:] |= score[1:] != score[:-1]
    at = np.flatnonzero(runs)  # first place of each run of equal scores
    sizes = np.diff(np.append(at, len(score)))
    start = np.maximum.accumulate(np.where(opens, np.arange(len(score)), 0))
    rank = np.repeat(at + (sizes + 1) / 2, sizes) - start  # mean rank within the group, from 1

    index = np.cumsum(opens) - 1
    groups = int(opens.sum())
    positives = np.bincount(index, label, groups)
    negatives = np.bincount(index, minlength=groups) - positives
    above = np.bincount(index, np.where(label, rank, 0.0), groups) - positives * (positives + 1) / 2
    pairs = positives * negatives
    auc = np.divide(above, pairs, out=np.full(groups, np.nan), where=pairs > 0)
    return GroupAuc(group[opens], auc, positives.astype(np.int64), negatives.astype(np.int64))


def auc(score: Floats, label: Flags) -> float:
    """AUC over all pairs of a positive and a negative; NaN where a class is missing."""
    if len(score) == 0:
        return float("nan")
    return float(group_auc(score, label, np.zeros(len(score), np.int64)).auc[0])


def gauc(score: Floats, label: Flags, user: Ints) -> float:
    """AUC per user, averaged with the user's number of candidates as weight (DIN, Zhou et al. 2018, § 6.2).

    Users with one class are left out.
    """
    each = group_auc(score, label, user)
    weight = np.where(np.isnan(each.auc), 0, each.positives + each.negatives)
    if weight.sum() == 0:
        return float("nan")
    return float(np.average(np.nan_to_num(each.auc), weights=weight))


def log_loss(logit: Floats, label: Flags) -> float:
    """Mean negative log-likelihood in nats of labels whose log-odds are ``logit`` (N,)."""
    return float(np.logaddexp(0, np.where(label, -logit, logit)).mean())


def normalised_entropy(logit: Floats, label: Flags) -> float:
    """Log loss over that of always predicting the share of positives (He et al. 2014, eq. 1).

    1 is a model that knows the base rate only; lower is better. NaN where a class is missing.
    """
    base = label.mean()
    entropy = -xlogy(base, base) - xlogy(1 - base, 1 - base)
    return log_loss(logit, label) / float(entropy) if entropy > 0 else float("nan")


class Calibration(NamedTuple):
    """Log-odds from scores: scale · score + shift (Platt scaling)."""

    scale: float
    shift: float

    def logit(self, score: Floats) -> Floats:
        """Calibrated log-odds of scores."""
        return self.scale * score + self.shift

    def probability(self, score: Floats) -> Floats:
        """Calibrated probabilities of scores."""
        probability: Floats = expit(self.logit(score))
        return probability


def calibrate(score: Floats, label: Flags) -> Calibration:
    """The scale and shift of least log loss, to be fitted on validation targets and used on test ones.

    A retrieval model's scores are log-odds up to such a change at best; without it log loss and
    normalised entropy would compare losses, not models. AUC does not change (for a positive scale).
    """
    found = LogisticRegression(C=np.inf, max_iter=1_000).fit(score[:, None], label)
    return Calibration(float(found.coef_[0, 0]), float(found.intercept_[0]))
