"""Mixtures of experts that split capacity, not history: the rivals of MoS over the same backbone.

Whole-backbone experts, dense (every expert, weighted) or the ``top`` best of them, and a feed-forward MoE
per token. Load balancing follows GShard and the Switch Transformer (Fedus et al. 2022, eq. 4-6).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from features.codes import PADDING
from training.batch import Batch, Rows, Samples
from training.layers.embed import Sizes
from training.layers.encoder import Block, Encoder, FeedForward, Shape
from training.model import Loss, Model
from training.models.sasrec import SASRec


class Routing(nn.Module):
    """Weights over E experts; with ``top`` only the best that many are above 0, scaled to sum to one.

    Keeps the last call's balance loss E · Σ_e (share of inputs whose best expert is e) · (mean weight of
    e), which is 1 where experts are used evenly and 0 where there is no input.
    """

    def __init__(self, dim: int, experts: int, top: int | None) -> None:
        super().__init__()
        if top is not None and not 1 <= top <= experts:
            raise ValueError(f"top = {top} is not between 1 and {experts} experts")
        self.experts, self.top = experts, top
        self.gate = nn.Linear(dim, experts)
        self.balance: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(M, E) float32 weights of inputs ``x`` (M, dim)."""
        weight: Tensor = self.gate(x).float().softmax(dim=-1)
        if self.top is None:
            return weight
        best = weight.topk(self.top, dim=-1)
        first = torch.zeros_like(weight).scatter_(1, best.indices[:, :1], 1.0)
        inputs = max(len(x), 1)
        self.balance = self.experts * (first.sum(dim=0) / inputs * weight.sum(dim=0) / inputs).sum()
        kept = torch.zeros_like(weight).scatter(1, best.indices, best.values)
        return kept / kept.sum(dim=-1, keepdim=True)


class PoolerMixture(nn.Module):
    """E whole backbones as one: a pooler whose output is their weighted sum, routed by the history's mean.

    With ``top``, only the routed backbones run for a sample. Weighing and routing follow Shazeer et al. 2017,
    section 2; whole backbones as experts and the mean as what the gate reads are our choice.
    """

    def __init__(
        self, make: Callable[[], nn.Module], dim: int, experts: int = 4, top: int | None = None
    ) -> None:
        super().__init__()
        self.experts = nn.ModuleList(make() for _ in range(experts))
        self.routing = Routing(dim, experts, top)

    def forward(self, x: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """As ``TargetPooler``."""
        shown = valid[..., None].to(x.dtype)
        mean = (x * shown).sum(dim=1) / shown.sum(dim=1).clamp(min=1)  # (N, d)
        weight = self.routing(mean)
        pooled = torch.zeros_like(target)
        for expert, share in zip(self.experts, weight.T, strict=True):
            if self.routing.top is None:
                pooled = pooled + share[:, None, None].to(pooled.dtype) * expert(x, target, valid)
                continue
            chosen = share.nonzero()[:, 0]
            if len(chosen):
                some = expert(x[chosen], target[chosen], valid[chosen]) * share[chosen, None, None]
                pooled = pooled.index_add(0, chosen, some.to(pooled.dtype))
        return pooled


class TokenMoE(nn.Module):
    """A feed-forward layer of E experts, the ``top`` best of which run for a token that is no padding."""

    def __init__(self, shape: Shape, experts: int = 4, top: int = 2) -> None:
        super().__init__()
        self.experts = nn.ModuleList(FeedForward(shape.dim, shape.ff, shape.dropout) for _ in range(experts))
        self.routing = Routing(shape.dim, experts, top)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(..., dim) -> (..., dim), zeros where ``valid`` (...) is False."""
        if valid is not None:
            out = torch.zeros_like(x)
            out[valid] = self(x[valid]).to(out.dtype)
            return out
        tokens = x.flatten(0, -2)
        weight = self.routing(tokens)  # (M, E)
        out = torch.zeros_like(tokens)
        for expert, share in zip(self.experts, weight.T, strict=True):
            chosen = share.nonzero()[:, 0]
            if len(chosen):
                out = out.index_add(0, chosen, (expert(tokens[chosen]) * share[chosen, None]).to(out.dtype))
        return out.view_as(x)


def token_moe_encoder(shape: Shape, experts: int = 4, top: int = 2) -> Encoder:
    """An encoder of ``shape`` whose feed-forward layers are mixtures."""
    encoder = shape.encoder()
    encoder.blocks = nn.ModuleList(
        Block(shape.dim, shape.heads, TokenMoE(shape, experts, top), shape.dropout)
        for _ in range(shape.layers)
    )
    return encoder


class TokenMoESASRec(SASRec):
    """SASRec over a token MoE, which has to know what is padding: else it would be routed as well."""

    def __init__(self, sizes: Sizes, shape: Shape | None = None, experts: int = 4, top: int = 2) -> None:
        shape = shape or Shape()
        super().__init__(sizes, shape, token_moe_encoder(shape, experts, top))

    def encoded(self, rows: Rows) -> Tensor:
        """(B, L, d) state of every place, zeros for padding."""
        return self.encoder(self.embed(rows), None, rows.session != PADDING)


class Balanced(nn.Module):
    """A model whose training loss also asks its routings to use their experts evenly."""

    def __init__(self, model: Model, weight: float = 0.01) -> None:
        super().__init__()
        self.model, self.weight = model, weight

    def training_loss(self, batch: Batch) -> Loss:
        """The model's loss + ``weight`` · the mean balance loss of its top-k routings."""
        loss = self.model.training_loss(batch)
        found = [part.balance for part in self.modules() if isinstance(part, Routing)]
        balance = [value for value in found if value is not None]
        if not balance:
            return loss
        even = torch.stack(balance).mean()
        return Loss(loss.total + self.weight * even, loss.parts | {"balance": even.detach()})

    def score_catalogue(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, V) float32, as the model's."""
        return self.model.score_catalogue(rows, samples)

    def score_candidates(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, 1 + C) float32, as the model's."""
        return self.model.score_candidates(rows, samples)
