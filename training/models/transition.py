"""Transition graph: which item followed the last one, over all users, with back-off to popularity.

The heuristic of "An Embarrassingly Simple Graph Heuristic" (PAPERS.md [D]) with one step, on counts:
needs no training, and beats many neural models where the last item decides.
"""

from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor

from features.codes import FIRST_INDEX
from training.batch import Batch, Rows, Samples, all_targets
from training.models.counting import CountModel, SparseCounts, candidates_of, last_items
from training.models.popularity import Popularity


class Transition(CountModel):
    """P(next = i | last = j) = (c_ji + a p_i) / (c_j + a), with p the popularity.

    Dirichlet smoothing (Zhai and Lafferty 2004); ``back_off`` is a, in counts, our choice. Where the
    last item is unknown, never preceded a target, or nothing is visible, popularity alone speaks.
    """

    total: Tensor  # (V,) float64 transitions from each item

    def __init__(self, items: int, back_off: float = 1.0) -> None:
        super().__init__(items)
        self.back_off = back_off
        self.popularity = Popularity(items)
        self.pairs = SparseCounts(items)
        self.register_buffer("total", torch.zeros(items, dtype=torch.float64))

    def fit(self, batches: Iterable[Batch]) -> Self:
        """Count (last visible item, target) over the training targets of one epoch.

        Takes memory for every target until all are counted.
        """
        pairs = [torch.empty(2, 0, dtype=torch.int64)]

        def counted() -> Iterable[Batch]:
            for batch in batches:
                samples = all_targets(batch.rows)
                pair = torch.stack([last_items(batch.rows, samples), samples.item.long()]).cpu()
                pairs.append(pair[:, (pair >= FIRST_INDEX).all(0)])
                yield batch

        self.popularity.fit(counted())
        last, item = torch.cat(pairs, dim=1).to(self.total.device)
        self.pairs.replace(last, item, torch.ones(len(last), device=last.device))
        self.total = torch.bincount(last, minlength=self.items).double()
        return self

    def score_catalogue(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, V) float32 log-probabilities."""
        last = last_items(rows, samples)
        found = self.pairs.rows(last)
        share = (self.back_off * self.popularity.log_share.exp()).repeat(len(last), 1)
        share[found.asked, found.column] += found.value.float()
        return self._log(share, last)

    def score_candidates(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, 1 + C) float32 log-probabilities of the samples' candidates."""
        last, item = last_items(rows, samples), candidates_of(samples)
        share = self.back_off * self.popularity.log_share.exp()[item]
        return self._log(share + self.pairs.at(last, item).float(), last)

    def _log(self, share: Tensor, last: Tensor) -> Tensor:
        return share.log_() - (self.total[last] + self.back_off).log()[:, None].float()
