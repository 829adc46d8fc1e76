"""Construction: k strands, each as long as the input, made in latent space from the non-sequence tokens."""

import math

import torch
from torch import Tensor, nn, unflatten

from training.models.cmsl.config import CmslConfig


class Construction(nn.Module):
    """Strand j = Attention(Q, K^(j), V^(j)): Q from the events, K and V from a group of m̂ intents.

    Figure 2 (PAPERS.md [P]) gives the construction; how s becomes groups is our choice: every intent is a
    learned combination of the m non-sequence tokens, and each group has a K and V projection of its own.
    The event itself is added to the attended intents (our choice): m̂ intents alone say too little of it.

    Where s holds one summary per place, an event attends to the intents of its own place only, so nothing
    later than it is read; a static s is known before the first event and needs no mask. Intents, keys and
    values of every place are never formed then: all maps between s and them are linear, so the query is
    carried back to s and the attended tokens forward, which is the same function in another order.
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
        query = self.query(self.norm_events(events)) / math.sqrt(self.merge.in_features // self.heads)
        tokens = self.norm_tokens(tokens)
        attend = self._to_intents if tokens.dim() == 3 else self._to_tokens_of_places
        attended = attend(query, tokens.to(query.dtype))  # (k, B · n, h · e)
        strands: Tensor = events + unflatten(self.merge(attended), 1, events.shape[:2])
        return strands

    def _to_intents(self, query: Tensor, tokens: Tensor) -> Tensor:
        """Attended intents (k, B · n, h · e) of ``query`` (B, n, h · e), from ``tokens`` (B or 1, m, d)."""
        intents = self.disentangle(tokens.transpose(1, 2)).transpose(1, 2)  # (B', k · m̂, d)
        groups = unflatten(intents, 1, (self.strands, -1)).transpose(0, 1)  # (k, B', m̂, d)
        both = groups.flatten(1, 2) @ self.key_value.to(groups.dtype)
        both = unflatten(unflatten(both, 2, (2, self.heads, -1)), 1, groups.shape[1:3])
        key, value = both.unbind(3)  # each (k, B', m̂, h, e)
        query = unflatten(query.reshape(len(tokens), -1, query.shape[2]), 2, (self.heads, -1))
        # m̂ is not the last dimension where the softmax is taken: rows of 4 are slow on a CPU
        score = key.permute(1, 3, 0, 2, 4).flatten(2, 3) @ query.permute(0, 2, 3, 1)  # (B', h, k · m̂, …)
        weight = unflatten(score, 2, (self.strands, -1)).softmax(3).permute(2, 0, 1, 4, 3)
        mixed = weight @ value.transpose(2, 3)  # (k, B', h, B / B' · n, e)
        return mixed.transpose(2, 3).flatten(3).flatten(1, 2)

    def _to_tokens_of_places(self, query: Tensor, tokens: Tensor) -> Tensor:
        """The same from ``tokens`` (B, n, m, d); P = B · n places.

        With D = [disentangle.weight, bias], one row an intent: score = D [x; 1] (W_K q), attended = (p D)
        [x; 1] W_V.
        """
        x = tokens.flatten(0, 1)  # (P, m, d)
        places, count, dim = x.shape
        strands, heads = self.strands, self.heads
        key, value = unflatten(self.key_value.to(x.dtype), 2, (2, heads, -1)).unbind(2)  # each (k, d, h, e)
        mix = torch.cat([self.disentangle.weight, self.disentangle.bias[:, None]], 1).to(x.dtype)
        mix = unflatten(mix, 0, (strands, -1))  # (k, m̂, m + 1)

        query = unflatten(query.flatten(0, 1), 1, (heads, -1)).transpose(0, 1)  # (h, P, e)
        asked = query @ key.permute(2, 3, 0, 1).flatten(2)  # (h, P, k · d)
        asked = asked.view(heads, places, strands, dim).permute(1, 2, 0, 3).reshape(places, -1, dim)
        found = torch.cat([asked @ x.transpose(1, 2), asked.sum(2, keepdim=True)], 2)  # (P, k · h, m + 1)
        found = found.view(places, strands, heads, count + 1).transpose(0, 1).reshape(strands, -1, count + 1)
        weight = (mix @ found.transpose(1, 2)).softmax(1)  # (k, m̂, P · h)
        share = weight.transpose(1, 2) @ mix  # (k, P · h, m + 1)
        share = share.view(strands, places, heads, count + 1).transpose(0, 1)
        share = share.reshape(places, -1, count + 1)  # (P, k · h, m + 1)
        mixed = torch.baddbmm(share[..., count:], share[..., :count], x)  # (P, k · h, d)
        out = mixed.transpose(0, 1) @ value.permute(0, 2, 1, 3).reshape(strands * heads, dim, -1)
        return out.view(strands, heads, places, -1).transpose(1, 2).flatten(2)  # (k, P, h · e)
