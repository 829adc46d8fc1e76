"""A codebook of themes that follows the item embeddings by moving averages, without gradients.

Codes are means of the session vectors assigned to them (VQ-VAE's moving-average update, van den Oord et
al. 2017, appendix A.1, eq. 6-8), compared by cosine; that MoS updates by moving average is PAPERS.md [D].
"""

import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import normalize

SAME = 1e-6
"""1 - cosine up to which two unit vectors are one: float32's rounding."""


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
        with full_precision(z):
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
        """Put dead codes onto vectors of ``z`` (M, d) drawn ``where`` (M,), no two onto one.

        A code is dead that no vector ever chose, or none in the last ``after`` updates. One that finds no
        vector apart from all codes stays dead. Where several processes train, the first one draws.
        """
        dead = (self.idle >= after) | (self.count == 0)
        if not dead.any():
            return
        places = dead.nonzero()[:, 0]
        with full_precision(z):
            z = normalize(z.float(), dim=-1)
            cosine = (z @ self.vectors().T).masked_fill(dead, -1.0).amax(dim=-1)  # (M,) to a living code
            fresh = _far_apart(z, torch.where(where, 1 - cosine, 0), len(places))
        if distributed.is_available() and distributed.is_initialized():
            distributed.broadcast(fresh, src=0)
        found = fresh.any(dim=1)
        scale = 1 - self.decay  # as if one vector had chosen the code once
        self.total[places[found]] = fresh[found] * scale
        self.count[places[found]] = scale
        self.idle[places[found]] = 0


def full_precision(x: Tensor) -> torch.autocast:
    """A context without autocast on the device of ``x``: what is compared or summed up stays float32."""
    return torch.autocast(x.device.type, enabled=False)


def _far_apart(z: Tensor, distance: Tensor, count: int) -> Tensor:
    """(count, d) of the unit vectors ``z`` (M, d), each drawn far from those before; zeros where none is.

    k-means++ (Arthur and Vassilvitskii 2007, section 2.2; that dead codes are put there is our choice): a
    vector's chance is its squared distance to the nearest centre, of which ``distance`` (M,), 1 - cosine,
    is half.
    """
    drawn = torch.zeros(count, z.shape[1], device=z.device)
    for place in range(count):
        weight = torch.where(distance > SAME, distance, 0)
        if not weight.any():
            break
        drawn[place] = z[torch.multinomial(weight, 1)[0]]
        distance = torch.minimum(distance, 1 - z @ drawn[place])
    return drawn
