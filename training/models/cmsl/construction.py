"""Construction: k strands, each as long as the input, made in latent space from the non-sequence tokens."""

import math

import torch
from torch import Tensor, nn

from training.models.cmsl.config import CmslConfig


class Construction(nn.Module):
    """Strand j = Attention(Q, K^(j), V^(j)): Q from the events, K and V from a group of m̂ intents.

    Figure 2 (PAPERS.md [P]) gives the construction; how s becomes groups is our choice: every intent is a
    learned combination of the m non-sequence tokens, and each group has a K and V projection of its own.
    The event itself is added to the attended intents (our choice): m̂ intents alone say too little of it.

    Where s holds one summary per place, an event attends to the intents of its own place only, so nothing
    later than it is read; a static s is known before the first event and needs no mask.
    """

    def __init__(self, config: CmslConfig) -> None:
        super().__init__()
        dim, width = config.dim, config.heads * config.dim_head
        self.strands, self.heads = config.strands, config.heads
        self.norm_events, self.norm_tokens = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.disentangle = nn.Linear(config.tokens, config.strands * config.intents)
        self.query, self.merge = nn.Linear(dim, width), nn.Linear(width, dim)
        bound = 1 / math.sqrt(dim)
        self.key_value = nn.Parameter(torch.empty(config.strands, dim, 2 * width).uniform_(-bound, bound))

    def forward(self, events: Tensor, tokens: Tensor) -> Tensor:
        """Strands (k, B, n, d) of ``events`` (B, n, d).

        ``tokens`` are (B or 1, m, d), or (B, n, m, d) where each place has its own.
        """
        if tokens.dim() == 3:
            tokens = tokens[:, None]  # (B, 1, m, d): the same intents at every place
        intents = self.disentangle(self.norm_tokens(tokens).transpose(-1, -2)).transpose(-1, -2)
        groups = intents.unflatten(-2, (self.strands, -1)).movedim(-3, 0)  # (k, B, n or 1, m̂, d)
        both = groups.flatten(1, 3) @ self.key_value.to(groups.dtype)  # (k, B · n · m̂, 2 · h · e)
        key, value = both.unflatten(1, groups.shape[1:4]).unflatten(-1, (2, self.heads, -1)).unbind(-3)
        query = self.query(self.norm_events(events)).unflatten(-1, (self.heads, -1))  # (B, n, h, e)
        score = (query[None, :, :, None] * key).sum(-1) / math.sqrt(query.shape[-1])  # (k, B, n, m̂, h)
        attended = (score.softmax(-2)[..., None] * value).sum(-3)  # (k, B, n, h, e)
        strands: Tensor = events + self.merge(attended.flatten(-2))
        return strands
