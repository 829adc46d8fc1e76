"""Sequence summarisation: k strands to m non-sequence tokens, by pooling with multi-head attention.

Pooling by attention (PMA, Set Transformer, Lee et al. 2019, eq. 10, here without its feed-forward) is
named for CMSL in PAPERS.md [D]; that each place gets its own summary, of the places up to it, is our choice:

    s_t = Σ_{j ≤ t} e^{a_j} v_j / Σ_{j ≤ t} e^{a_j}

so that a model trained at all places at once leaks nothing from later ones into the next block.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn, unflatten
from torch.nn.functional import pad, softplus

CHUNK = 16
"""Places that are averaged pair by pair; longer rows are averaged in chunks, and chunks in chunks."""


class Average(NamedTuple):
    """A weighted mean and the log of the weights' sum, which is what joining it to others takes."""

    mass: Tensor  # (...,)
    mean: Tensor  # (..., e)


def prefix_average(score: Tensor, value: Tensor, chunk: int = CHUNK) -> Average:
    """Softmax-weighted means of every prefix: ``score`` (..., n), ``value`` (..., n, e), same leading sizes.

    No exponent is ever above 0, so scores of any size are safe. Averages of chunks are values of the same
    problem with their masses as scores, which makes the cost linear in n. Float32 at least.
    """
    length = score.shape[-1]
    if length <= chunk:
        unseen = torch.full((length, length), -torch.inf, dtype=score.dtype, device=score.device).triu(1)
        weight = (score[..., None, :] + unseen).softmax(-1)  # (..., n, n)
        return Average(score.logcumsumexp(-1), weight @ value)
    rest = -length % chunk
    score = pad(score, (0, rest), value=torch.finfo(score.dtype).min)  # finite: no inf - inf in gradients
    inside = prefix_average(
        unflatten(score, -1, (-1, chunk)), unflatten(pad(value, (0, 0, 0, rest)), -2, (-1, chunk)), chunk
    )
    before = prefix_average(inside.mass[..., :-1, -1], inside.mean[..., :-1, -1, :], chunk)
    first = Average(inside.mass[..., :1, :], inside.mean[..., :1, :, :])
    later = _join(
        Average(inside.mass[..., 1:, :], inside.mean[..., 1:, :, :]),
        Average(before.mass[..., None], before.mean[..., None, :]),
    )
    mass, mean = (torch.cat(parts, dim) for *parts, dim in zip(first, later, (-2, -3), strict=True))
    return Average(mass.flatten(-2)[..., :length], mean.flatten(-3, -2)[..., :length, :])


def _join(one: Average, other: Average) -> Average:
    """The average over the elements of both."""
    share = torch.sigmoid(one.mass - other.mass)[..., None]
    return Average(torch.logaddexp(one.mass, other.mass), torch.lerp(other.mean, one.mean, share))


class Summary(nn.Module):
    """Attention pooling of strands by m learned seeds, with a learned rate of forgetting per seed and head.

    The score of a strand's token at place j is ``a_j = seed · key_j / √dim_head + rate · j``: a constant
    factor on all weights leaves a mean unchanged, so the weights of a prefix that ends at t fall off as
    ``exp(-rate · (t - j))`` and only distances matter (ALiBi's bias, Press et al. 2022; our choice).
    """

    def __init__(self, dim: int, tokens: int, heads: int) -> None:
        super().__init__()
        self.tokens, self.heads = tokens, heads
        self.norm = nn.LayerNorm(dim)
        self.seed = nn.Parameter(torch.randn(tokens, dim))
        # softplus(-8) to softplus(0): from the whole history to the latest few events
        self.rate = nn.Parameter(torch.linspace(-8, 0, tokens * heads).view(tokens, heads))
        self.key, self.value = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim)
        self.merge = nn.Linear(dim, dim)

    def forward(self, strands: Tensor) -> Tensor:
        """Summaries (B, n, m, d) of the places 0 … t of ``strands`` (k, B, n, d), for every place t."""
        with torch.autocast(strands.device.type, enabled=False):
            x = self.norm(strands.to(self.seed.dtype))
            key = unflatten(self.key.weight, 0, (self.heads, -1))  # (h, e, d)
            # the seeds are everyone's, so scores need no keys: (k · B · n, d) @ (d, h · m)
            asked = torch.einsum("mhe,hed->dhm", self._heads(self.seed), key)
            score = unflatten(x @ asked.flatten(1), -1, asked.shape[1:]).permute(0, 1, 3, 4, 2)
            pooled = prefix_average(*self._merge_strands(score, x)).mean  # (B, h, m, n, e)
        return self._tokens(pooled.permute(0, 3, 2, 1, 4))

    def at(self, strands: Tensor, tokens: Tensor, length: Tensor) -> Tensor:
        """Summaries (B, m, d) of the first ``length`` (B,) places, each at least 1.

        ``tokens`` (B, m, d) join the seeds, so that a candidate among them picks what it is compared with.
        """
        with torch.autocast(strands.device.type, enabled=False):
            x = self.norm(strands.to(self.seed.dtype))
            asked = self._heads(self.seed + tokens.to(self.seed.dtype))  # (B, m, h, e)
            key = unflatten(self.key(x), -1, (self.heads, -1))
            score = torch.einsum("kbnhe,bmhe->kbhmn", key, asked)
            mass, value = self._merge_strands(score, x)
            hidden = torch.arange(mass.shape[-1], device=mass.device) >= length[:, None]  # (B, n)
            weight = mass.masked_fill(hidden[:, None, None], -torch.inf).softmax(-1)  # (B, h, m, n)
            pooled = torch.einsum("bhmn,bhmne->bhme", weight, value)
        return self._tokens(pooled.transpose(1, 2))

    def _heads(self, seed: Tensor) -> Tensor:
        """(..., d) -> (..., h, e), scaled for a product with keys."""
        parts = unflatten(seed, -1, (self.heads, -1))
        return parts / math.sqrt(parts.shape[-1])

    def _merge_strands(self, score: Tensor, x: Tensor) -> Average:
        """Masses (B, h, m, n) and means (B, h, m, n, e) over the k tokens of each place of ``x``.

        ``score`` (k, B, h, m, n) without the rate; ``x`` (k, B, n, d).
        """
        value = unflatten(self.value(x), -1, (self.heads, -1))
        mass = score.logsumexp(0)
        mean = torch.einsum("kbhmn,kbnhe->bhmne", score.softmax(0), value)
        places = torch.arange(mass.shape[-1], dtype=mass.dtype, device=mass.device)
        return Average(mass + softplus(self.rate).T[..., None] * places, mean)

    def _tokens(self, pooled: Tensor) -> Tensor:
        """(..., m, h, e) -> (..., m, d)."""
        out: Tensor = self.merge(pooled.flatten(-2))
        return out
