"""CMSL for retrieval: no candidate among the non-sequence tokens, a loss at every target of a row."""

import torch
from torch import Tensor, nn

from training.batch import Batch, Rows, Samples, all_targets
from training.layers.embed import INIT_STD, EventEmbedding, Sizes
from training.layers.objective import hide_untrained, mean_where, next_item_nll, trained_items
from training.layers.query import QueryHead
from training.model import Loss
from training.models.cmsl.config import CmslConfig
from training.models.cmsl.encoder import CmslEncoder, learned_tokens, skip_connections


class Cmsl(nn.Module):
    """Next-item model: a state from the sequence token at ``read_at`` and the summaries of all blocks there.

    The first block's non-sequence tokens are learned and the same for everyone: there is no user id, and
    what is known of the query joins after the encoder, so that one pass serves all targets of a row. They
    stay out of the head, where a constant would be a bias.
    """

    def __init__(self, sizes: Sizes, config: CmslConfig | None = None) -> None:
        super().__init__()
        config = config or CmslConfig()
        self.embed = EventEmbedding(sizes, config.dim, config.dropout)
        self.tokens = learned_tokens(config.tokens, config.dim)
        self.encoder = CmslEncoder(config, last_events=True)
        self.skip = skip_connections(config.dim, 1 + config.blocks * config.tokens)
        self.start = nn.Parameter(torch.randn(config.dim) * INIT_STD)
        self.head = QueryHead(config.dim, dropout=config.dropout)

    def states(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, d) state of each sample."""
        events, summaries = self.encoder(self.embed(rows), self.tokens[None])
        tokens = torch.cat([events[:, :, None], *summaries], dim=2)  # (B, L, 1 + blocks · m, d)
        row, last = samples.row.long(), (samples.end.long() - 1).clamp(min=0)
        merged = self.skip(tokens[row, last])
        seen = (samples.end > 0)[:, None]
        read = torch.where(seen, merged, self.start.to(merged.dtype))
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
