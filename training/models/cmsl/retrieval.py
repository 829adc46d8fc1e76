"""CMSL for retrieval: no candidate among the non-sequence tokens, a loss at every target of a row."""

import torch
from torch import Tensor, nn

from training.batch import Rows, Samples
from training.layers.embed import INIT_STD, EventEmbedding, Sizes
from training.layers.query import QueryHead
from training.models.cmsl.config import CmslConfig
from training.models.cmsl.encoder import CmslEncoder, learned_tokens, skip_connections
from training.models.one_vector import OneVector


class Cmsl(OneVector):
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

    def item_vectors(self) -> Tensor:
        """(V, d) vectors to search by inner product."""
        return self.embed.item_vectors()

    def states(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, d) state of each sample."""
        events, summaries = self.encoder(self.embed(rows), self.tokens[None])
        row, last = samples.row.long(), (samples.end.long() - 1).clamp(min=0)
        read = [part[row, last] for part in (events[:, :, None], *summaries)]  # before cat: N may be small
        merged = self.skip(torch.cat(read, dim=1))  # (N, 1 + blocks · m, d) -> (N, d)
        seen = (samples.end > 0)[:, None]
        read_state = torch.where(seen, merged, self.start.to(merged.dtype))
        state: Tensor = self.head(read_state, samples.query_gap, samples.new_session)
        return state
