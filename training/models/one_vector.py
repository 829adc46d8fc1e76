"""What models with one vector for a target have in common: their loss, their scores, what to search with."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from training.batch import Batch, Rows, Samples, all_targets
from training.layers.objective import hide_untrained, mean_where, next_item_nll, trained_items
from training.model import Loss, Retrieval


class OneVector(nn.Module, ABC):
    """A next-item model that scores an item by its inner product with the target's vector."""

    @abstractmethod
    def item_vectors(self) -> Tensor:
        """(V, d) vectors to search by inner product."""

    @abstractmethod
    def states(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, d) vector of each sample."""

    def training_loss(self, batch: Batch) -> Loss:
        """Mean cross-entropy over the targets with a trained item: the batch's samples, else all targets."""
        samples = batch.samples if batch.samples is not None else all_targets(batch.rows)
        kept = trained_items(samples)
        if batch.groups is not None:
            kept = kept & batch.groups.mask
        states = self.states(batch.rows, samples)[:, None]  # (N, 1, d)
        gates = states.new_zeros(states.shape[:2], dtype=torch.float32)
        nll, _ = next_item_nll(states, gates, self.item_vectors(), samples, batch.shared)
        total = mean_where(nll, kept)
        return Loss(total, {"next_item": total.detach()})

    def score_catalogue(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, V) float32 logits of every item."""
        states = self.states(rows, samples)
        return hide_untrained((states @ self.item_vectors().T.to(states.dtype)).float())

    def score_candidates(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, 1 + C) float32 logits of the candidates."""
        if samples.cand_item is None:
            raise ValueError("these samples have no candidates; give them cand_item")
        candidates = self.item_vectors()[samples.cand_item.long()]  # (N, 1 + C, d)
        return (self.states(rows, samples)[:, None] * candidates).sum(-1, dtype=torch.float32)

    def retrieval_vectors(self, rows: Rows, samples: Samples) -> Retrieval:
        """One vector (N, 1, d) a sample, of weight one, to search all items with."""
        states = self.states(rows, samples)[:, None]
        return Retrieval(states, torch.ones(states.shape[:2], device=states.device))
