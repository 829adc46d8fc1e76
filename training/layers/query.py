"""What is known of a target before its item: how long ago the last event was, and a new session."""

import torch
from torch import Tensor, nn

from training.batch import GAP_CODES
from training.layers.dropout import Dropout
from training.layers.embed import INIT_STD
from training.layers.encoder import FeedForward


class QueryEmbedding(nn.Module):
    """Sum of the embeddings of the gap's code and of whether a session opens (our choice)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gap, self.opens = nn.Embedding(GAP_CODES, dim), nn.Embedding(2, dim)
        for table in (self.gap, self.opens):
            nn.init.normal_(table.weight, std=INIT_STD)

    def forward(self, query_gap: Tensor, new_session: Tensor) -> Tensor:
        """(N, dim) of ``query_gap`` (N,) codes and ``new_session`` (N,) bool."""
        out: Tensor = self.gap(query_gap.int()) + self.opens(new_session.int())
        return out


def read_states(states: Tensor, start: Tensor, row: Tensor, end: Tensor) -> Tensor:
    """``states[row, end - 1]`` (N, d) of ``states`` (B, L, d); ``start`` (d,) where ``end`` is 0."""
    read = states[row.long(), (end.long() - 1).clamp(min=0)]
    return torch.where((end > 0)[:, None], read, start.to(states.dtype))


class QueryHead(nn.Module):
    """Adds the query to a state and lets them meet in one feed-forward layer (our choice).

    A bare sum would only shift every item's score by an amount that does not depend on the history.
    """

    def __init__(self, dim: int, ff: float = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.query = QueryEmbedding(dim)
        self.before, self.after = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.feed, self.dropout = FeedForward(dim, ff, dropout), Dropout(dropout)

    def forward(self, state: Tensor, query_gap: Tensor, new_session: Tensor) -> Tensor:
        """(N, dim) or (N, E, dim) of as many states, with ``query_gap`` and ``new_session`` (N,)."""
        query = self.query(query_gap, new_session)
        x = state + (query if state.dim() == 2 else query[:, None])
        out: Tensor = self.after(x + self.dropout(self.feed(self.before(x))))
        return out
