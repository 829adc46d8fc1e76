"""ULIM's two encoders of a user: what they do now, and what they do within one category.

Source: PAPERS.md, ULIM, dual-interest learning [D]: self-attention over the latest events and a mean
pool; target attention over a category's subsequence with the short-term vector as query, so that no
candidate is needed. Widths, residuals, biases and the query head are our choice.
"""

import torch
from torch import Tensor, nn, unflatten

from features.codes import PADDING
from training.layers.dropout import Dropout
from training.layers.embed import INIT_STD
from training.layers.encoder import FeedForward, Shape
from training.layers.query import QueryHead
from training.losses import HIDDEN

TOGETHER = 32
"""Samples of like length that a CPU encodes at once (our choice)."""


class ShortTerm(nn.Module):
    """Self-attention over the latest events, a mean over them, then the query (gap, new session).

    Attention runs both ways: every event given is visible to the target. A sample that sees nothing reads
    a learned start vector.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.encoder = shape.encoder()
        self.start = nn.Parameter(torch.randn(shape.dim) * INIT_STD)
        self.head = QueryHead(shape.dim, dropout=shape.dropout)

    def forward(self, events: Tensor, valid: Tensor, query_gap: Tensor, new_session: Tensor) -> Tensor:
        """(N, dim) of ``events`` (N, T, dim), ``valid`` (N, T) bool and the samples' gap and flag (N,).

        Events are right-aligned. On a CPU samples of like length are encoded together, without the padding
        that they share; elsewhere all at once, since shapes that depend on the data would wait for it.
        """
        count = valid.sum(1)
        by_length = events.device.type == "cpu" and not torch.compiler.is_compiling()
        pooled = self._sum_by_length(events, valid, count) if by_length else self._sum(events, valid)
        count = count[:, None]
        pooled = torch.where(count > 0, pooled / count.clamp(min=1), self.start.to(pooled.dtype))
        out: Tensor = self.head(pooled, query_gap, new_session)
        return out

    def _sum(self, events: Tensor, valid: Tensor) -> Tensor:
        """(N, dim) sum of the states of ``events`` (N, T, dim)."""
        length = events.shape[1]
        both_ways = torch.ones(1, length, length, dtype=torch.bool, device=events.device)
        states: Tensor = self.encoder(events, both_ways, valid)  # (N, T, dim), 0 where not valid
        return states.sum(1)

    def _sum_by_length(self, events: Tensor, valid: Tensor, count: Tensor) -> Tensor:
        """The same, with ``count`` (N,) of valid events."""
        order, parts = count.argsort(), []
        for some in torch.split(order, TOGETHER):
            longest = max([1, *count[some].tolist()])
            parts.append(self._sum(events[some, -longest:], valid[some, -longest:]))
        return torch.cat(parts)[order.argsort()]


class TargetAttention(nn.Module):
    """A query attends over K subsets of the same events, with a learned bias for the age of each event.

    The logits of query and event are shared by the subsets, which only differ in what is masked; so K
    categories cost little more than one. One query asks many events, so keys and values are never formed:
    the query is carried to the events by the key map, and the value map reads what was mixed. A bias of
    the keys would shift all logits of a query alike and is left out. Ages are codes from 1 to ``ages``;
    0 masks the event.
    """

    def __init__(self, dim: int, heads: int, ages: int, ff: float = 2, dropout: float = 0.1) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim {dim} does not divide into {heads} heads")
        self.heads = heads
        self.before, self.after = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.merge = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.key, self.value = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim)
        self.age = nn.Embedding(ages + 1, heads, padding_idx=PADDING)
        nn.init.zeros_(self.age.weight)
        self.feed, self.dropout = FeedForward(dim, ff, dropout), Dropout(dropout)

    def forward(self, query: Tensor, events: Tensor, age: Tensor) -> Tensor:
        """(N, K, dim) of ``query`` (N, dim), ``events`` (N, T, dim) and ``age`` (N, K, T) int.

        A subset without events gives the query itself, unchanged.
        """
        key, value = (unflatten(part.weight, 0, (self.heads, -1)) for part in (self.key, self.value))
        asked = self.query(self.before(query)).unflatten(-1, (self.heads, -1))  # (N, heads, dim_head)
        asked = torch.einsum("nhe,hed->nhd", asked, key.to(asked.dtype)) * asked.shape[-1] ** -0.5
        logits = (asked @ events.to(asked.dtype).transpose(1, 2)).float()  # (N, heads, T)
        logits = logits[:, :, None] + self.age(age).permute(0, 3, 1, 2).float()  # (N, heads, K, T)
        seen = (age > 0)[:, None]
        weights = logits.masked_fill(~seen, HIDDEN).softmax(-1)
        mixed = weights.flatten(1, 2).to(events.dtype) @ events  # (N, heads · K, dim)
        mixed = mixed.unflatten(1, weights.shape[1:3])
        mixed = torch.einsum("nhkd,hed->nkhe", mixed, value.to(mixed.dtype)).flatten(2) + self.value.bias
        out = query[:, None] + self.dropout(self.merge(mixed))
        out = out + self.dropout(self.feed(self.after(out)))
        return torch.where(seen.any(-1).transpose(1, 2), out, query[:, None].to(out.dtype))
