"""Target attention: what a history says of a candidate. DIN, TWIN and SDIM, the controls of MoS.

Shapes: N histories, T events, C candidates of a history, d channels, H heads. A pooler takes every event
that ``valid`` shows, the last one included.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize

from training.layers.encoder import SequenceEncoder
from training.losses import HIDDEN


class TargetPooler(Protocol):
    """What CTR models ask of a backbone."""

    def __call__(self, x: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Events ``x`` (N, T, d), candidates (N, C, d), ``valid`` (N, T) bool -> (N, C, d).

        A history without a valid event gives zeros.
        """
        ...


class LastState(nn.Module):
    """A sequence encoder as a pooler: its last state, whatever the candidate. Events stand to the right."""

    def __init__(self, encoder: SequenceEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """As ``TargetPooler``."""
        state = self.encoder(x, None, valid)[:, -1]  # (N, d)
        return state[:, None].expand(-1, target.shape[1], -1)


class Din(nn.Module):
    """DIN's activation unit (Zhou et al. 2018, eq. 3): a small network weighs each event by the candidate.

    The weights are not normalised, as in the paper, so that the sum tells how strong an interest is. The
    network reads event, candidate and their product; its inner width is our choice.
    """

    def __init__(self, dim: int, inner: int = 32) -> None:
        super().__init__()
        self.event, self.candidate = nn.Linear(dim, inner), nn.Linear(dim, inner, bias=False)
        self.product, self.out = nn.Linear(dim, inner, bias=False), nn.Linear(inner, 1)

    def forward(self, x: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """As ``TargetPooler``."""
        # W (x · target) = (W · target) x: candidates scale the weights, so that no (N, C, T, d) is held
        scaled = (target[:, :, None] * self.product.weight).flatten(1, 2)  # (N, C · inner, d)
        product = (x @ scaled.mT).view(*x.shape[:2], target.shape[1], -1)  # (N, T, C, inner)
        inner = product.add_(self.event(x)[:, :, None]).add_(self.candidate(target)[:, None])
        weight = self.out(gelu(inner))[..., 0].mT * valid[:, None]  # (N, C, T)
        pooled: Tensor = weight @ x
        return pooled


class Twin(nn.Module):
    """TWIN (Chang et al. 2023): the search keeps the ``top`` events by the very scores that weigh them.

    One multi-head target attention serves both stages (its eq. 4 and 7); the search ranks events by the
    mean of the heads' scores (our choice). A hard search (SIM, Pi et al. 2020) is a narrower ``valid``,
    which may be (N, C, T) here. Cross features' bias is left out: events have none here.
    """

    def __init__(self, dim: int, heads: int = 2, top: int = 50) -> None:
        super().__init__()
        if dim % heads or top < 1:
            raise ValueError(f"TWIN needs dim ({dim}) divisible by heads ({heads}) and top ({top}) >= 1")
        self.heads, self.top = heads, top
        self.query, self.key = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.value, self.merge = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """As ``TargetPooler``."""
        query = self.query(target).unflatten(-1, (self.heads, -1))  # (N, C, H, d / H)
        key = self.key(x).unflatten(-1, (self.heads, -1))  # (N, T, H, d / H)
        score = torch.einsum("nchd,nthd->ncht", query, key) * query.shape[-1] ** -0.5
        shown = valid if valid.dim() == 3 else valid[:, None]  # (N, C or 1, T)
        score = score.float().masked_fill(~shown[:, :, None], HIDDEN)
        places = score.mean(dim=2).topk(min(self.top, x.shape[1]), dim=-1).indices  # (N, C, top)
        found = score.gather(3, places[:, :, None].expand(-1, -1, self.heads, -1))  # (N, C, H, top)
        weight = found.softmax(dim=-1).masked_fill(found <= HIDDEN, 0.0)
        row = torch.arange(len(x), device=x.device)[:, None, None]
        value = self.value(x)[row, places].unflatten(-1, (self.heads, -1))  # (N, C, top, H, d / H)
        mixed = torch.einsum("ncht,ncthd->nchd", weight.to(value.dtype), value)
        out: Tensor = self.merge(mixed.flatten(2))
        return out


class Sdim(nn.Module):
    """SDIM (Cao et al. 2022, eq. 6-9): events whose hash signature equals the candidate's, over many rounds.

    Each of ``rounds`` signatures has ``bits`` signs of fixed random projections (SimHash). A round sums the
    colliding events and scales the sum to length one; the rounds' mean is returned. Hashes carry no
    gradient, events do. A history is hashed once for all candidates.
    """

    projection: Tensor

    def __init__(self, dim: int, rounds: int = 16, bits: int = 3) -> None:
        super().__init__()
        self.rounds, self.bits = rounds, bits
        self.register_buffer("projection", torch.randn(dim, rounds * bits))

    def signatures(self, x: Tensor) -> Tensor:
        """(..., rounds) int64 signatures of ``x`` (..., d), each below 2 ** bits."""
        with torch.autocast(x.device.type, enabled=False):  # a sign must not depend on the precision
            signs = x.detach().float() @ self.projection > 0  # (..., rounds * bits)
        power = 2 ** torch.arange(self.bits, device=x.device)
        return (signs.view(*x.shape[:-1], self.rounds, self.bits) * power).sum(dim=-1)

    def forward(self, x: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """As ``TargetPooler``."""
        histories, dim = len(x), x.shape[-1]
        offset = torch.arange(self.rounds, device=x.device) << self.bits
        slot = self.signatures(x) + offset  # (N, T, R), distinct over rounds
        events = (x * valid[..., None])[:, :, None].expand(-1, -1, self.rounds, -1)
        buckets = x.new_zeros(histories, self.rounds << self.bits, dim)
        buckets = buckets.scatter_add(1, slot.flatten(1)[..., None].expand(-1, -1, dim), events.flatten(1, 2))
        buckets = normalize(buckets, dim=-1, eps=1e-6)
        asked = self.signatures(target) + offset  # (N, C, R)
        row = torch.arange(histories, device=x.device)[:, None, None]
        pooled: Tensor = buckets[row, asked].mean(dim=2)
        return pooled


POOLERS: dict[str, Callable[[int], nn.Module]] = {"din": Din, "twin": Twin, "sdim": Sdim}
"""Target poolers by name, of a given width."""
