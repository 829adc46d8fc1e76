"""PGIN: which category comes next, by pointing at a category of the past or by generating one.

Source: PAPERS.md, ULIM [D]: ``y = p * y_pointer + (1 - p) * y_generate`` from long and short category
sequences and a de-duplicated, time-ordered pointer sequence. There is no user profile in our tables; the
query (gap, new session) takes its place. The networks' insides are our choice.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid, nll_loss

from features.codes import FIRST_INDEX
from training.batch import GAP_CODES, Batch, Rows, Samples, all_targets
from training.groups import POINTERS
from training.layers.embed import embedding
from training.layers.encoder import FeedForward, Shape
from training.layers.gather import distinct_categories, gather_events, recent_places
from training.losses import HIDDEN
from training.model import Loss
from training.models.ulim.encoders import ShortTerm, TargetAttention
from training.models.ulim.evidence import FEATURES, category_evidence
from training.models.ulim.history import ages
from training.models.ulim.scatter import scatter_logsumexp


class Distributions(NamedTuple):
    """The two distributions and the switch, all float32 logs; ``mix`` puts them together."""

    pointer: Tensor  # (N, J) over the places of the pointer sequence; HIDDEN where empty
    generate: Tensor  # (N, C) over all categories; HIDDEN for codes 0 and 1
    switch: Tensor  # (N,) logit of p, the chance to point


def mix(found: Distributions, pointer_category: Tensor) -> Tensor:
    """(N, C) float32 log of ``p * y_pointer + (1 - p) * y_generate``.

    ``pointer_category`` (N, J) says which category each place of the pointer sequence names, 0 for empty
    places. All in log space, so that the loss stays finite as p nears 0 or 1. A sample whose pointer
    sequence is empty generates, whatever p is.
    """
    size = found.generate.shape[1]
    pointed = scatter_logsumexp(found.pointer, pointer_category, size, HIDDEN)
    some = (pointer_category >= FIRST_INDEX).any(1)
    point = torch.where(some, logsigmoid(found.switch), HIDDEN)[:, None]
    write = torch.where(some, logsigmoid(-found.switch), 0)[:, None]
    mixed = torch.logaddexp(point + pointed, write + found.generate)
    codes = torch.arange(size, device=mixed.device)
    return mixed.masked_fill(codes < FIRST_INDEX, HIDDEN)


class Pgin(nn.Module):
    """Pointer-enhanced generator over C categories (codes 0 and 1 included in the count)."""

    def __init__(
        self, categories: int, dim: int = 32, heads: int = 2, short: int = 50, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.size, self.short = categories, short
        self.category = embedding(categories, dim)
        self.recent = ShortTerm(Shape(dim, 1, heads, 2, dropout))
        self.history = TargetAttention(dim, heads, GAP_CODES, dropout=dropout)
        self.place = nn.Embedding(POINTERS, dim)
        self.evidence = nn.Linear(FEATURES, dim)
        self.fit, self.point = FeedForward(3 * dim, 1 / 3, dropout), nn.Linear(3 * dim, 1, bias=False)
        self.fit.outer.register_parameter("bias", None)  # both would shift all logits alike
        self.write, self.prior = nn.Linear(dim, dim), nn.Parameter(torch.zeros(categories))
        self.switch = nn.Linear(dim, 1)

    def forward(self, rows: Rows, samples: Samples, pointer: Tensor | None = None) -> Tensor:
        """(N, C) float32 log-probability of every category; codes 0 and 1 have next to none.

        ``pointer`` (N, J) is the pointer sequence where the batch brings it (``Groups.pointer_category``).
        """
        if pointer is None:
            pointer = distinct_categories(rows, samples, POINTERS)
        return mix(self.distributions(rows, samples, pointer), pointer)

    def distributions(self, rows: Rows, samples: Samples, pointer: Tensor) -> Distributions:
        """Both distributions and the switch for a pointer sequence ``pointer`` (N, J), J at most 32."""
        state = self._state(rows, samples)  # (N, dim)
        evidence = category_evidence(rows, samples, pointer, self.size)  # (N, J, FEATURES)
        places = self.place.weight[: pointer.shape[1]]
        named = self.category(pointer) + places + self.evidence(evidence)  # (N, J, dim)
        asked = state[:, None].expand_as(named)
        both = torch.cat([named, asked, named * asked], dim=-1)
        logits = self.point(both + self.fit(both))  # (N, J, 1)
        empty = pointer < FIRST_INDEX
        pointed = log_softmax(logits[..., 0].float().masked_fill(empty, HIDDEN), dim=-1)
        written = (self.write(state) @ self.category.weight.T.to(state.dtype)).float() + self.prior
        codes = torch.arange(len(self.prior), device=state.device)
        generate = log_softmax(written.masked_fill(codes < FIRST_INDEX, HIDDEN), dim=-1)
        return Distributions(pointed.masked_fill(empty, HIDDEN), generate, self.switch(state)[:, 0].float())

    def _state(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, dim): the short category sequence with the query, which then attends over the long one."""
        embedded = self.category(rows.category)  # (B, L, dim)
        pos = recent_places(samples.end, min(self.short, rows.item.shape[1]))
        recent, valid = gather_events(embedded, samples.row, pos)
        state = self.recent(recent, valid, samples.query_gap, samples.new_session)
        out: Tensor = self.history(state, embedded[samples.row], ages(rows, samples))[:, 0]
        return out

    def loss(self, rows: Rows, samples: Samples, pointer: Tensor | None = None) -> Tensor:
        """(N,) negative log-likelihood of the targets' categories; 0 where the category is unknown."""
        target = samples.category.long()
        known = target >= FIRST_INDEX
        nll = nll_loss(self(rows, samples, pointer), target, reduction="none")
        return torch.where(known, nll, 0)

    def training_loss(self, batch: Batch) -> Loss:
        """Mean loss over the batch's samples, else over every target of its rows, as PGIN trains alone."""
        samples = batch.samples if batch.samples is not None else all_targets(batch.rows)
        known = (samples.category >= FIRST_INDEX).sum().clamp(min=1)
        total = self.loss(batch.rows, samples).sum() / known
        return Loss(total, {"category": total.detach()})
