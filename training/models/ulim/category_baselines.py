"""Next-category baselines that PGIN must beat: last, most frequent and decayed-frequency categories.

Each scores every category from the sample's visible history. Categories that the history does not hold
follow behind, by their share of the training events, so that every baseline always names k categories.
Our choice.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from features.codes import FIRST_INDEX
from training.batch import Rows, Samples
from training.layers.gather import visible
from training.models.ulim.evidence import log_decay
from training.models.ulim.scatter import scatter_logsumexp

UNSEEN = -1e7
"""Stands below every log weight and leaves float64 eight decimals for the share that is added to it."""


def _with_popularity(personal: Tensor, popularity: Tensor) -> Tensor:
    """(N, C) ``personal`` where the history holds the category, else popularity below all of that."""
    share = popularity.to(personal) / popularity.sum().clamp(min=1)
    scores = torch.where(personal > -torch.inf, personal, UNSEEN + share)
    codes = torch.arange(personal.shape[1], device=personal.device)
    return scores.masked_fill(codes < FIRST_INDEX, -torch.inf)


def last_categories(rows: Rows, samples: Samples, popularity: Tensor) -> Tensor:
    """(N, C) float64 scores: the place of the category's newest visible event."""
    places = torch.arange(rows.item.shape[1], device=rows.item.device).double()
    seen = torch.where(visible(rows, samples), places, -torch.inf)
    newest = torch.full((len(seen), len(popularity)), -torch.inf, dtype=seen.dtype, device=seen.device)
    newest = newest.scatter_reduce(1, rows.category[samples.row].long(), seen, "amax")
    return _with_popularity(newest, popularity)


def frequent_categories(rows: Rows, samples: Samples, popularity: Tensor) -> Tensor:
    """(N, C) float64 scores: the category's count among the visible events; ties go to the newer one."""
    seen = visible(rows, samples)
    recency = torch.arange(seen.shape[1], device=seen.device) / seen.shape[1] ** 2  # stays below 1
    weight = torch.where(seen, torch.ones((), dtype=torch.float64, device=seen.device), 0)
    index = rows.category[samples.row].long()
    count = torch.zeros(len(seen), len(popularity), dtype=torch.float64, device=seen.device)
    newest = count.scatter_reduce(1, index, recency * weight, "amax")
    count = count.scatter_add(1, index, weight)
    return _with_popularity(torch.where(count > 0, count + newest, -torch.inf), popularity)


def decayed_categories(rows: Rows, samples: Samples, popularity: Tensor, half_life: float) -> Tensor:
    """(N, C) float64 scores: log of the count in which an event loses half its weight in ``half_life`` s."""
    weight = log_decay(rows, samples, half_life)
    index = rows.category[samples.row]
    return _with_popularity(scatter_logsumexp(weight, index, len(popularity), -torch.inf), popularity)


def category_hits(scores: Tensor, target: Tensor, k: int) -> Tensor:
    """(N,) bool: the target's category is among the k best of ``scores`` (N, C), k at most C.

    An unknown category (code below 2) is never a hit.
    """
    best = scores.topk(min(k, scores.shape[1]), dim=1).indices
    return (best == target[:, None].long()).any(1) & (target >= FIRST_INDEX)


def tune_half_life(
    parts: Iterable[tuple[Rows, Samples]], popularity: Tensor, half_lives: Iterable[float], k: int = 5
) -> tuple[float, dict[float, float]]:
    """The half-life (seconds) with the most category hits at k, and the hit rate of each one tried.

    ``parts`` are targets of the training window only: the baseline gets its parameter as a model would.
    """
    grid = tuple(half_lives)
    hits, targets = dict.fromkeys(grid, 0), 0
    for rows, samples in parts:
        targets += len(samples.row)
        for half_life in grid:
            scores = decayed_categories(rows, samples, popularity, half_life)
            hits[half_life] += int(category_hits(scores, samples.category, k).sum())
    if targets == 0:
        raise ValueError("no targets to tune the half-life on; give some of the training window")
    rates = {half_life: found / targets for half_life, found in hits.items()}
    return max(grid, key=lambda half_life: rates[half_life]), rates
