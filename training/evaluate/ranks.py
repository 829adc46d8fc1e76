"""Ranks of targets in the whole catalogue, and the retrieval metrics that follow from them.

A rank counts from 1. Items that score like the target share their mean rank, so that a model that
cannot tell items apart gains nothing by the order of codes. A target outside the catalogue as of its own
time (not trained, or never seen before) is a miss: its rank is infinite. Seen items are not excluded.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features.codes import FIRST_INDEX
from training.batch import Batch

Floats = NDArray[np.float64]
CUTOFFS: Final = (10, 50, 500)
COMPARED_AT_ONCE = 1 << 25
"""Scores compared with their target's at once (our choice)."""


class Catalogue:
    """The items that may be recommended at a time: trained ones, and seen before it.

    ``first_seen`` (V,) int64 holds unix seconds of each item's first event; None: all trained items
    were seen before every target.
    """

    def __init__(self, items: int, first_seen: Tensor | None = None) -> None:
        if first_seen is not None and first_seen.shape != (items,):
            raise ValueError(
                f"first_seen has shape {tuple(first_seen.shape)}; the catalogue has {items} codes"
            )
        self.items = items
        self._first_seen = first_seen

    def at(self, query_ts: Tensor) -> Tensor:
        """(Q, V) bool, or (1, V) where it is the same for all: which items exist at ``query_ts`` (Q,)."""
        trained = torch.arange(self.items, device=query_ts.device)[None] >= FIRST_INDEX
        if self._first_seen is None:
            return trained
        return trained & (self._first_seen.to(query_ts.device)[None] < query_ts[:, None])

    def holds(self, item: Tensor, query_ts: Tensor) -> Tensor:
        """(N,) bool: whether each ``item`` (N,) is in the catalogue at ``query_ts`` (N,)."""
        inside = (item >= FIRST_INDEX) & (item < self.items)
        if self._first_seen is None:
            return inside
        code = item.long().clamp(max=self.items - 1)
        return inside & (self._first_seen.to(item.device)[code] < query_ts)


def first_seen(batches: Iterable[Batch], items: int) -> Tensor:
    """(V,) int64 unix seconds of each item's first event in the batches; the largest int64 without one."""
    earliest = torch.full((items,), torch.iinfo(torch.int64).max)
    for batch in batches:
        rows = batch.rows.to("cpu")
        held = torch.arange(rows.item.shape[1])[None] < rows.length[:, None]
        earliest.scatter_reduce_(0, rows.item[held].long(), rows.ts[held], "amin")
    return earliest


def mean_ranks(scores: Tensor, item: Tensor, query: Tensor, candidates: Tensor) -> Tensor:
    """(N,) float64 rank of each target among the candidates, ties at their mean rank.

    ``scores`` (Q, V) float; ``item`` (N,) the targets, all candidates of their question; ``query`` (N,)
    int64 the question of each; ``candidates`` (Q, V) or (1, V) bool.
    ValueError where a score is not a number.
    """
    if scores.isnan().any():
        raise ValueError(
            f"{int(scores.isnan().sum())} of {scores.numel()} scores are not a number; the model diverged"
        )
    # Not-a-number is neither above nor level with anything, whatever the target's score.
    rivals = scores.float().masked_fill(~candidates, torch.nan)
    ranks = torch.empty(len(item), dtype=torch.float64, device=scores.device)
    step = max(1, COMPARED_AT_ONCE // scores.shape[1])
    for start in range(0, len(item), step):
        part = slice(start, start + step)
        asked = query[part]
        found = rivals[asked]  # (n, V)
        own = found.gather(1, item[part].long()[:, None])
        flags = torch.empty_like(found)  # floats add up several times faster than bools, exactly below 2^24
        above = torch.gt(found, own, out=flags).sum(1).double()
        level = torch.eq(found, own, out=flags).sum(1).double()  # the target itself included
        ranks[part] = above + (level + 1) / 2
    return ranks


class Coverage:
    """Which items stand in anyone's first k, for the share of the catalogue that is ever recommended."""

    def __init__(self, items: int, device: torch.device | str, cutoffs: tuple[int, ...] = CUTOFFS) -> None:
        self._shown = {k: torch.zeros(items, dtype=torch.bool, device=device) for k in cutoffs}

    def add(self, scores: Tensor, candidates: Tensor) -> None:
        """Count the first k of every question; ties go in the order of ``torch.topk``."""
        most = min(max(self._shown), scores.shape[1])
        found = scores.float().masked_fill(~candidates, -torch.inf).topk(most, dim=1)
        real = found.values > -torch.inf
        for k, shown in self._shown.items():
            shown[found.indices[:, :k][real[:, :k]]] = True

    def shares(self) -> dict[int, float]:
        """k -> share of the trained items."""
        trained = max(1, len(next(iter(self._shown.values()))) - FIRST_INDEX)
        return {k: float(shown.sum()) / trained for k, shown in self._shown.items()}


def hit(rank: Floats, k: int) -> Floats:
    """1 where the target is among the first k, else 0; its mean is HR@k (= recall@k of one target)."""
    return (rank <= k).astype(np.float64)


def gain(rank: Floats, k: int) -> Floats:
    """1 / log2(1 + rank) among the first k, else 0; its mean is NDCG@k with one relevant item."""
    return np.where(rank <= k, 1 / np.log2(1 + np.where(rank <= k, rank, 1)), 0.0)


def reciprocal(rank: Floats, k: int) -> Floats:
    """1 / rank among the first k, else 0; its mean is MRR@k."""
    return np.where(rank <= k, 1 / rank, 0.0)


MEASURES: Final = {"hr": hit, "ndcg": gain, "mrr": reciprocal}


def measure(rank: Floats, name: str) -> Floats:
    """Per-target values (N,) of a metric such as ``hr_10``; ValueError where there is none of that name.

    >>> measure(np.array([1.0, 3.0, np.inf]), "ndcg_10").tolist()
    [1.0, 0.5, 0.0]
    """
    kind, _, k = name.rpartition("_")
    if kind not in MEASURES or not k.isdigit():
        raise ValueError(f"metric {name!r} is unknown; known: {', '.join(MEASURES)}, each as in hr_10")
    return MEASURES[kind](rank, int(k))


def rank_metrics(rank: Floats, cutoffs: tuple[int, ...] = CUTOFFS) -> dict[str, float]:
    """HR, NDCG and MRR at each cutoff, averaged over targets; NaN without any."""
    names = [f"{kind}_{k}" for kind in MEASURES for k in cutoffs]
    return {name: float(measure(rank, name).mean()) if len(rank) else float("nan") for name in names}
