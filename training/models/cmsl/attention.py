"""Self-attention inside each strand, in two forms: softmax, and linear of degree 2.

Every strand has projections of its own (our choice): parameters, and with them FLOPs, then grow with the
number of strands, as they must for a control with one wide strand to cost the same.
"""

import math
from typing import Final, Literal

import torch
from torch import Tensor, nn, unflatten
from torch.nn.functional import layer_norm, pad, scaled_dot_product_attention, silu

from training.layers.rope import Rotary
from training.models.cmsl.kernel import linear_attention

Form = Literal["softmax", "linear"]

TAPS: Final = 64
"""Latest places that the filter A of the linear form reads (our choice; a dense A costs O(n²))."""

UNIT_EPS: Final = 1e-6


class StrandLinear(nn.Module):
    """A linear map of each strand's own: (k, B, n, inner) -> (k, B, n, outer)."""

    def __init__(self, strands: int, inner: int, outer: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inner)  # nn.Linear's own start
        self.weight = nn.Parameter(torch.empty(strands, inner, outer).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(strands, 1, outer).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """(k, B, n, inner) -> (k, B, n, outer)."""
        return unflatten(torch.baddbmm(self.bias, x.flatten(1, 2), self.weight), 1, x.shape[1:3])


class SoftmaxAttention(nn.Module):
    """Causal multi-head self-attention with rotary places, per strand.

    Without dropout inside, which the fused kernel of the CPU does not have; the block drops its output.
    """

    def __init__(self, dim: int, strands: int, heads: int, dim_head: int) -> None:
        super().__init__()
        width = heads * dim_head
        self.heads = heads
        self.project = StrandLinear(strands, dim, 3 * width)
        self.merge = StrandLinear(strands, width, dim)
        self.rotary = Rotary(dim_head)

    def forward(self, x: Tensor) -> Tensor:
        """(k, B, n, d) -> (k, B, n, d)."""
        query, key, value = _heads(self.project(x), 3, self.heads)  # each (k · B, h, n, e)
        query, key = self.rotary(query, key, _places(x))
        mixed = scaled_dot_product_attention(query, key, value, is_causal=True)
        out: Tensor = self.merge(_join_heads(mixed, x.shape[0]))
        return out


class LinearAttention(nn.Module):
    """SiLU(QKᵀ)V as φ(Q)φ(K)ᵀV / t + AV, causal, at a cost linear in the length (PAPERS.md [D], ``kernel``).

    Our choices: queries and keys have unit length, A is a causal filter over the latest ``TAPS`` places of
    each channel, the sum is divided by the number of visible places t, and a LayerNorm and a SiLU gate
    follow (as in HSTU, Zhai et al. 2024, eq. 3) where softmax has its denominator.
    """

    def __init__(self, dim: int, strands: int, heads: int, dim_head: int) -> None:
        super().__init__()
        width = heads * dim_head
        self.heads = heads
        self.project = StrandLinear(strands, dim, 4 * width)
        self.merge = StrandLinear(strands, width, dim)
        self.taps = nn.Parameter(torch.randn(strands, width, TAPS) / TAPS)
        self.rotary = Rotary(dim_head)

    def forward(self, x: Tensor) -> Tensor:
        """(k, B, n, d) -> (k, B, n, d)."""
        width = self.taps.shape[1]
        mixed, gate = self.project(x).split([3 * width, width], dim=-1)
        query, key, value = _heads(mixed, 3, self.heads)  # each (k · B, h, n, e)
        query, key = self.rotary(_unit(query), _unit(key), _places(x))
        seen = torch.arange(1, x.shape[2] + 1, device=x.device)[:, None]  # (n, 1)
        long = _join_heads(linear_attention(query, key, value) / seen, x.shape[0])
        near = causal_filter(mixed[..., 2 * width :], self.taps)
        out: Tensor = self.merge(layer_norm(long + near, (width,)) * silu(gate))
        return out


def causal_filter(x: Tensor, taps: Tensor) -> Tensor:
    """``y_t = Σ_l taps_l x_{t-l}`` per strand and channel: ``x`` (k, B, n, w), ``taps`` (k, w, T) -> like x.

    Computed as matrix products of windows of 2T - 1 places with a (2T - 1, T) Toeplitz matrix: two to
    three times as fast as ``conv1d`` with a group per channel on a CPU.
    """
    size, length = taps.shape[-1], x.shape[2]
    padded = pad(x.permute(0, 3, 1, 2), (size - 1, -length % size))  # (k, w, B, …)
    windows = padded.unfold(-1, 2 * size - 1, size)  # (k, w, B, n / T, 2T - 1)
    shifted = pad(taps.flip(-1), (size - 1, size - 1)).unfold(-1, 2 * size - 1, 1)  # row i starts at i
    toeplitz = shifted.flip(-2).transpose(-1, -2).to(x.dtype)  # (k, w, 2T - 1, T)
    filtered = windows.flatten(2, 3) @ toeplitz  # (k, w, B · n / T, T)
    return unflatten(filtered, 2, windows.shape[2:4]).flatten(3)[..., :length].permute(0, 2, 3, 1)


def _unit(x: Tensor) -> Tensor:
    """``x`` scaled to unit length over its last dimension, in float32."""
    x = x if x.dtype == torch.float64 else x.float()
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + UNIT_EPS)


def _heads(x: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """(k, B, n, parts · h · e) -> ``parts`` tensors (k · B, h, n, e)."""
    return unflatten(x.flatten(0, 1), -1, (parts, heads, -1)).permute(2, 0, 3, 1, 4).unbind()


def _join_heads(x: Tensor, strands: int) -> Tensor:
    """(k · B, h, n, e) -> (k, B, n, h · e)."""
    return unflatten(x.transpose(1, 2).flatten(2), 0, (strands, -1))


def _places(x: Tensor) -> Tensor:
    """(1, n) places of ``x`` (k, B, n, d)."""
    return torch.arange(x.shape[2], device=x.device)[None]
