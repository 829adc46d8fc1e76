"""Popularity: how often an item was a training target, all time or decayed towards the training's end."""

from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor

from features.codes import FIRST_INDEX
from training.batch import Batch, Rows, Samples
from training.models.counting import CountModel, candidates_of


class Popularity(CountModel):
    """One ranking for everyone.

    With ``half_life`` (seconds) a target counts 2^(-age / half_life), age measured at the last training
    target: recent popularity, which no later target can change. An item that was never a target gets half the
    share of the least popular one, so that every score is finite. Our choice.
    """

    log_share: Tensor  # (V,) float32; -inf for codes 0 and 1

    def __init__(self, items: int, half_life: float | None = None) -> None:
        super().__init__(items)
        if half_life is not None and half_life <= 0:
            raise ValueError(f"half_life = {half_life} s must be positive")
        self.half_life = half_life
        self.register_buffer("log_share", _log_shares(torch.zeros(items, dtype=torch.float64)))

    def fit(self, batches: Iterable[Batch]) -> Self:
        """Count the training targets of one epoch."""
        counts = torch.zeros(self.items, dtype=torch.float64)
        newest: int | None = None
        for batch in batches:
            rows = batch.rows
            item, ts = rows.item[rows.loss_mask].cpu().long(), rows.ts[rows.loss_mask].cpu()
            if len(ts) == 0:
                continue
            weight = torch.ones(len(ts), dtype=torch.float64)
            if self.half_life is not None:
                latest = max(int(ts.max()), newest if newest is not None else int(ts.max()))
                counts *= 2.0 ** (-((latest - newest) / self.half_life)) if newest is not None else 1.0
                weight = torch.exp2((ts - latest).double() / self.half_life)
                newest = latest
            counts.index_add_(0, item, weight)
        self.log_share = _log_shares(counts).to(self.log_share.device)
        return self

    def score_catalogue(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, V) float32, the same for every sample."""
        return self.log_share.expand(len(samples.row), -1)

    def score_candidates(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, 1 + C) float32 scores of the samples' candidates."""
        return self.log_share[candidates_of(samples)]


def _log_shares(counts: Tensor) -> Tensor:
    """(V,) float32 log of each trained item's share of ``counts`` (V,) float64."""
    trained = counts[FIRST_INDEX:]
    counted = trained > 0
    least = trained[counted].min() if bool(counted.any()) else torch.ones((), dtype=torch.float64)
    share = trained.where(counted, least / 2)
    hidden = torch.full((FIRST_INDEX,), -torch.inf)
    return torch.cat([hidden, (share.log() - share.sum().log()).float()])
