"""A codebook of themes that follows the item embeddings by moving averages, without gradients.

Codes are means of the session vectors assigned to them (VQ-VAE's moving-average update, van den Oord et
al. 2017, appendix A.1, eq. 6-8), compared by cosine; that MoS updates by moving average is PAPERS.md [D].
"""

import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import normalize


class Codebook(nn.Module):
    """K codes in buffers: the decayed sum and count of the vectors that chose each one."""

    total: Tensor  # (K, d) float32 decayed sum of vectors
    count: Tensor  # (K,) float32 decayed number of vectors
    idle: Tensor  # (K,) int64 updates since a vector last chose the code

    def __init__(self, codes: int, dim: int, decay: float = 0.99) -> None:
        super().__init__()
        if not 0 < decay < 1:
            raise ValueError(f"decay = {decay} is not between 0 and 1")
        self.decay = decay
        self.register_buffer("total", torch.zeros(codes, dim))
        self.register_buffer("count", torch.zeros(codes))
        self.register_buffer("idle", torch.zeros(codes, dtype=torch.int64))

    @property
    def codes(self) -> int:
        """K."""
        return self.count.shape[0]

    def vectors(self) -> Tensor:
        """(K, d) unit codes; zero for a code that no vector ever chose."""
        return normalize(self.total, dim=-1)

    def nearest(self, z: Tensor) -> Tensor:
        """Index (...) of the code with the largest cosine to each of ``z`` (..., d), never-used ones last."""
        cosine = z.float() @ self.vectors().T
        return cosine.masked_fill(self.count == 0, -2.0).argmax(dim=-1)

    @torch.no_grad()
    def update(self, z: Tensor, code: Tensor, where: Tensor) -> None:
        """Move the codes towards the vectors ``z`` (M, d) that chose ``code`` (M,), those ``where`` (M,).

        Processes add their vectors up first, so that they keep the same codebook.
        """
        weight = where.to(torch.float32)
        sums = torch.zeros(self.codes, z.shape[1] + 1, device=z.device)
        sums.index_add_(
            0, code.long(), torch.cat([z.float(), torch.ones_like(z[:, :1]).float()], 1) * weight[:, None]
        )
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(sums)
        self.total.mul_(self.decay).add_(sums[:, :-1], alpha=1 - self.decay)
        self.count.mul_(self.decay).add_(sums[:, -1], alpha=1 - self.decay)
        self.idle.copy_(torch.where(sums[:, -1] > 0, 0, self.idle + 1))

    @torch.no_grad()
    def revive(self, z: Tensor, where: Tensor, after: int) -> None:
        """Put codes idle for ``after`` updates or more onto vectors of ``z`` (M, d) drawn ``where`` (M,).

        Vectors far from their code are drawn first (k-means++'s squared distance; our choice). Where
        several processes train, the first one draws. Nothing changes where no vector is offered.
        """
        dead = (self.idle >= after) & where.any()
        nearest = (z.float() @ self.vectors().T).amax(dim=-1)
        weight = ((1 - nearest).clamp(min=1e-6) ** 2) * where  # (M,)
        drawn = torch.multinomial(weight + (~where.any()), self.codes, replacement=True)
        fresh = z[drawn].float()
        if distributed.is_available() and distributed.is_initialized():
            packed = torch.cat([fresh, dead[:, None].float()], dim=1)
            distributed.broadcast(packed, src=0)
            fresh, dead = packed[:, :-1], packed[:, -1] > 0
        scale = 1 - self.decay  # as if one vector had chosen the code once
        self.total.copy_(torch.where(dead[:, None], fresh * scale, self.total))
        self.count.copy_(torch.where(dead, scale, self.count))
        self.idle.copy_(torch.where(dead, 0, self.idle))
