"""SASRec (Kang and McAuley 2018): one causal encoder over one sequence, the control of every other model.

Relative places, pre-norm, the query after the encoder and a full or log-q corrected softmax are our choice.
"""

import torch
from torch import Tensor, nn

from training.batch import Batch, Rows, Samples, all_targets
from training.layers.embed import INIT_STD, EventEmbedding, Sizes
from training.layers.encoder import SequenceEncoder, Shape
from training.layers.objective import hide_untrained, mean_where, next_item_nll, trained_items
from training.layers.query import QueryHead, read_states
from training.model import Loss


class SASRec(nn.Module):
    """Next-item model over one sequence; ``encoder`` replaces the backbone that ``shape`` describes."""

    def __init__(
        self, sizes: Sizes, shape: Shape | None = None, encoder: SequenceEncoder | None = None
    ) -> None:
        super().__init__()
        shape = shape or Shape()
        self.embed = EventEmbedding(sizes, shape.dim, shape.dropout)
        self.encoder = encoder or shape.encoder()
        self.start = nn.Parameter(torch.randn(shape.dim) * INIT_STD)
        self.head = QueryHead(shape.dim, dropout=shape.dropout)

    def states(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, d) state of each sample."""
        encoded = self.encoder(self.embed(rows))  # (B, L, d)
        read = read_states(encoded, self.start, samples.row, samples.end)
        state: Tensor = self.head(read, samples.query_gap, samples.new_session)
        return state

    def training_loss(self, batch: Batch) -> Loss:
        """Mean cross-entropy over the batch's targets with a trained item."""
        samples = all_targets(batch.rows)
        states = self.states(batch.rows, samples)[:, None]  # (N, 1, d)
        gates = states.new_zeros(states.shape[:2], dtype=torch.float32)
        nll, _ = next_item_nll(states, gates, self.embed.item_vectors(), samples, batch.shared)
        total = mean_where(nll, trained_items(samples))
        return Loss(total, {"next_item": total.detach()})

    def score_catalogue(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, V) float32 logits of every item."""
        table = self.embed.item_vectors()
        states = self.states(rows, samples)
        return hide_untrained((states @ table.T.to(states.dtype)).float())

    def score_candidates(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, 1 + C) float32 logits of the candidates."""
        if samples.cand_item is None:
            raise ValueError("these samples have no candidates; give them cand_item")
        candidates = self.embed.item_vectors()[samples.cand_item.long()]  # (N, 1 + C, d)
        return (self.states(rows, samples)[:, None] * candidates).sum(-1, dtype=torch.float32)

    def retrieval_vectors(self, rows: Rows, samples: Samples) -> tuple[Tensor, Tensor]:
        """Vectors (N, 1, d) to search the item table with, and their weights (N, 1), all one."""
        states = self.states(rows, samples)[:, None]
        return states, torch.ones_like(states[..., 0])
