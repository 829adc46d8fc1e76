"""SASRec (Kang and McAuley 2018): one causal encoder over one sequence, the control of every other model.

Relative places, pre-norm, the query after the encoder and a full or log-q corrected softmax are our choice.
"""

import torch
from torch import Tensor, nn

from training.batch import Rows, Samples
from training.layers.embed import INIT_STD, EventEmbedding, Sizes
from training.layers.encoder import SequenceEncoder, Shape
from training.layers.query import QueryHead, read_states
from training.models.one_vector import OneVector


class SASRec(OneVector):
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

    def item_vectors(self) -> Tensor:
        """(V, d) vectors to search by inner product."""
        return self.embed.item_vectors()

    def encoded(self, rows: Rows) -> Tensor:
        """(B, L, d) state of every place; padding stands at the end, where no event sees it."""
        return self.encoder(self.embed(rows))

    def states(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, d) state of each sample."""
        read = read_states(self.encoded(rows), self.start, samples.row, samples.end)
        state: Tensor = self.head(read, samples.query_gap, samples.new_session)
        return state
