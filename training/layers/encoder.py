"""The backbone of the sequence models: a causal transformer with relative places."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from training.layers.dropout import Dropout
from training.layers.rope import Rotary


class SequenceEncoder(Protocol):
    """What a model asks of a backbone: states of the same shape, each from visible places only."""

    def __call__(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        valid: Tensor | None = None,
        places: Tensor | None = None,
    ) -> Tensor:
        """``x`` (N, T, d) -> (N, T, d); ``mask`` and ``valid`` as in ``visible_mask``.

        ``places`` (N, T) are where the events stand, for backbones that know of distances; 0 … T - 1 by
        default.
        """
        ...


def visible_mask(x: Tensor, mask: Tensor | None, valid: Tensor | None) -> Tensor | None:
    """(N, 1, T, T) bool, True where the query (row) may see the key (column); None is plain causal.

    ``mask`` (N, T, T) replaces the causal rule, ``valid`` (N, T) hides keys. Every query sees itself, so
    that no row of the attention is empty.
    """
    if mask is None and valid is None:
        return None
    length = x.shape[1]
    own = torch.eye(length, dtype=torch.bool, device=x.device)
    if mask is None:
        mask = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()[None]
    if valid is not None:
        mask = mask & valid[:, None, :]
    return (mask | own)[:, None]


class FeedForward(nn.Module):
    """Two linear maps with a GELU between them; ``ff`` is the inner width over ``dim``."""

    def __init__(self, dim: int, ff: float, dropout: float) -> None:
        super().__init__()
        inner = round(dim * ff)
        self.inner, self.outer = nn.Linear(dim, inner), nn.Linear(inner, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(..., dim) -> (..., dim); ``valid`` (...) is for mixtures in its place, which leave padding out."""
        out: Tensor = self.outer(self.dropout(gelu(self.inner(x))))
        return out


class Attention(nn.Module):
    """Multi-head self-attention with rotary places.

    Its weights are not dropped out (the blocks' outputs are): the fused CPU kernel could not serve then.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim {dim} does not divide into {heads} heads")
        self.heads = heads
        self.project, self.merge = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.rotary = Rotary(dim // heads)

    def forward(self, x: Tensor, visible: Tensor | None, places: Tensor) -> Tensor:
        """(N, T, dim) -> (N, T, dim); ``visible`` as returned by ``visible_mask``."""
        parts = self.project(x).unflatten(-1, (3, self.heads, -1))  # (N, T, 3, heads, dim_head)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (N, heads, T, dim_head)
        query, key = self.rotary(query, key, places)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=visible, is_causal=visible is None)
        out: Tensor = self.merge(mixed.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Attention, then feed-forward, each behind a LayerNorm and around a residual."""

    def __init__(self, dim: int, heads: int, feed: nn.Module, dropout: float) -> None:
        super().__init__()
        self.attend, self.feed = Attention(dim, heads), feed
        self.before_attend, self.before_feed = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Tensor, visible: Tensor | None, places: Tensor, valid: Tensor | None = None
    ) -> Tensor:
        """(N, T, dim) -> (N, T, dim); ``visible`` as returned by ``visible_mask``, ``valid`` (N, T) bool."""
        x = x + self.dropout(self.attend(self.before_attend(x), visible, places))
        out: Tensor = x + self.dropout(self.feed(self.before_feed(x), valid))
        return out


class Encoder(nn.Module):
    """Pre-norm transformer (SASRec's shape, Kang and McAuley 2018; RoPE and pre-norm are our choice)."""

    def __init__(
        self, dim: int, layers: int = 2, heads: int = 2, ff: float = 2, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(dim, heads, FeedForward(dim, ff, dropout), dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        valid: Tensor | None = None,
        places: Tensor | None = None,
    ) -> Tensor:
        """States (N, T, dim) of ``x`` (N, T, dim); causal unless ``mask`` (N, T, T) says what is visible.

        ``valid`` (N, T) bool hides padding and zeroes its states; rows padded at the end need none.
        ``places`` (N, T) are the places to measure distances by, 0 … T - 1 by default.
        """
        visible = visible_mask(x, mask, valid)
        if places is None:
            places = torch.arange(x.shape[1], device=x.device)[None]
        for block in self.blocks:
            x = block(x, visible, places, valid)
        states: Tensor = self.norm(x)
        return states if valid is None else states * valid[..., None]


@dataclass(frozen=True)
class Shape:
    """Size of a backbone: width, blocks, heads, inner width of the feed-forward over ``dim``, dropout."""

    dim: int = 64
    layers: int = 2
    heads: int = 2
    ff: float = 2
    dropout: float = 0.1

    def encoder(self) -> Encoder:
        """A fresh encoder of this size."""
        return Encoder(self.dim, self.layers, self.heads, self.ff, self.dropout)
