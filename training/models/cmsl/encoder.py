"""CMSL's blocks: construction, self-attention per strand, compression and summarisation, L times over.

arXiv 2606.28533, Figure 2 as digested in PAPERS.md [P]; sizes and normalisation are our choice.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from training.layers.dropout import Dropout
from training.models.cmsl.attention import LinearAttention, SoftmaxAttention
from training.models.cmsl.config import CmslConfig
from training.models.cmsl.construction import Construction
from training.models.cmsl.summary import Summary


class Compression(nn.Module):
    """k strands to one sequence: concatenation and a feed-forward layer at each place (PAPERS.md [D])."""

    def __init__(self, config: CmslConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(config.strands * config.dim, config.hidden)
        self.outer = nn.Linear(config.hidden, config.dim)

    def forward(self, strands: Tensor) -> Tensor:
        """(k, B, n, d) -> (B, n, d)."""
        out: Tensor = self.outer(gelu(self.inner(strands.movedim(0, -2).flatten(-2))))
        return out


class Block(nn.Module):
    """One block; residuals and pre-normalisation are our choice."""

    def __init__(self, config: CmslConfig, compress: bool) -> None:
        super().__init__()
        sizes = (config.dim, config.strands, config.strand_heads, config.dim_head)
        self.construct = Construction(config)
        self.attend = LinearAttention(*sizes) if config.attention == "linear" else SoftmaxAttention(*sizes)
        self.before_attend, self.after_attend = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)
        self.compress = Compression(config) if compress else None
        self.summarise = Summary(config.dim, config.tokens, config.heads)
        self.dropout = Dropout(config.dropout)

    def forward(self, events: Tensor, tokens: Tensor, length: Tensor | None) -> tuple[Tensor, Tensor]:
        """Sequence tokens (B, n, d) and non-sequence tokens of the next block.

        ``tokens`` as ``Construction`` takes them. With ``length`` (B,) the new ones are (B, m, d), of the
        first ``length`` places; without, they are (B, n, m, d), one set of the places 0 … t for each t.
        """
        strands = self.construct(events, tokens)
        strands = strands + self.dropout(self.attend(self.before_attend(strands)))
        strands = self.after_attend(strands)
        if self.compress is not None:
            events = events + self.dropout(self.compress(strands))
        if length is None:
            return events, (tokens if tokens.dim() == 4 else tokens[:, None]) + self.summarise(strands)
        return events, tokens + self.summarise.at(strands, tokens, length)


class CmslEncoder(nn.Module):
    """L blocks. Padding must stand at the end of the rows, where causality hides it from every event."""

    def __init__(self, config: CmslConfig, last_events: bool) -> None:
        """``last_events``: whether the sequence tokens behind the last block are wanted."""
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(config, compress=last_events or index + 1 < config.blocks) for index in range(config.blocks)
        )

    def forward(
        self, events: Tensor, tokens: Tensor, length: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """The last block's sequence tokens (B, n, d) and the non-sequence tokens that each block made.

        ``events`` (B, n, d); ``tokens`` (B or 1, m, d) must be known before the first event. Tokens come
        per place, (B, n, m, d), or with ``length`` (B,) for that many events, (B, m, d).
        """
        made = []
        for block in self.blocks:
            events, tokens = block(events, tokens, length)
            made.append(tokens)
        return events, made


def skip_connections(dim: int, tokens: int) -> nn.Module:
    """A layer that reads ``tokens`` tokens of all blocks side by side: (..., tokens, d) -> (..., d)."""
    return nn.Sequential(nn.LayerNorm(dim), nn.Flatten(-2), nn.Linear(tokens * dim, dim))


def learned_tokens(count: int, dim: int) -> nn.Parameter:
    """Non-sequence tokens (count, dim) that are the same for everyone, of the scale of a normalised token."""
    return nn.Parameter(torch.randn(count, dim))
