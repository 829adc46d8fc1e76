"""Event embeddings: what every sequence model reads of an event."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from features.codes import PADDING
from training.batch import Rows
from training.layers.dropout import Dropout

INIT_STD = 0.02
"""Standard deviation of embeddings at the start (our choice)."""


@dataclass(frozen=True)
class Sizes:
    """How many codes each vocabulary has, 0 (padding) and 1 (unknown) included."""

    items: int
    categories: int
    types: int
    modes: int


def embedding(size: int, dim: int) -> nn.Embedding:
    """A table (size, dim) whose row 0 is the zero vector and stays it."""
    table = nn.Embedding(size, dim, padding_idx=PADDING)
    nn.init.normal_(table.weight, std=INIT_STD)
    with torch.no_grad():
        table.weight[PADDING].zero_()
    return table


def session_opens(session: Tensor) -> Tensor:
    """(B, L) bool: the event is the first of its session in the row."""
    opens = torch.ones_like(session, dtype=torch.bool)
    opens[:, 1:] = session[:, 1:] != session[:, :-1]
    return opens


class EventEmbedding(nn.Module):
    """Sum of the embeddings of item, category, type and mode, then LayerNorm and dropout (our choice).

    A flag marks the first event of a session, so that a single-sequence control knows of sessions too.
    """

    def __init__(self, sizes: Sizes, dim: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.item = embedding(sizes.items, dim)
        self.category = embedding(sizes.categories, dim)
        self.event_type = embedding(sizes.types, dim)
        self.mode = embedding(sizes.modes, dim)
        self.opens = nn.Parameter(torch.randn(dim) * INIT_STD)
        self.norm, self.dropout = nn.LayerNorm(dim), Dropout(dropout)

    def forward(self, rows: Rows) -> Tensor:
        """(B, L, dim) of every event."""
        summed = self.item(rows.item) + self.category(rows.category)
        summed = summed + self.event_type(rows.type) + self.mode(rows.mode)
        summed = summed + session_opens(rows.session)[..., None] * self.opens
        out: Tensor = self.dropout(self.norm(summed))
        return out

    def candidates(self, item: Tensor, category: Tensor) -> Tensor:
        """(..., dim) of items that have not happened: ``item`` and ``category`` (...), no type, no mode."""
        out: Tensor = self.norm(self.item(item) + self.category(category))
        return out

    def item_vectors(self) -> Tensor:
        """(V, dim) item embeddings, which are the output table as well."""
        return self.item.weight
