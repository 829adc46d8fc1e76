"""Rotary position embedding (RoFormer, Su et al. 2021, eq. 34): attention sees distances, not places."""

import torch
from torch import Tensor, nn


class Rotary(nn.Module):
    """Rotates pairs of query and key channels by angles in proportion to their places.

    ``dim_head`` must be even. Channel pair c turns by ``place * base ** (-2c / dim_head)``. Rows of any
    length and alignment score alike, since only differences of places reach the attention.
    """

    frequency: Tensor

    def __init__(self, dim_head: int, base: float = 10_000.0) -> None:
        super().__init__()
        if dim_head % 2:
            raise ValueError(f"a head of {dim_head} channels has no pairs to rotate; make dim_head even")
        channel = torch.arange(0, dim_head, 2, dtype=torch.float64)
        self.register_buffer("frequency", base ** (-channel / dim_head), persistent=False)

    def forward(self, query: Tensor, key: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Rotate ``query`` and ``key`` (N, heads, T, dim_head) to ``places`` (N, T) or (1, T).

        Computed in float32 at least, since places of long rows do not fit half precision.
        """
        precision = torch.promote_types(query.dtype, torch.float32)
        angle = places[:, None, :, None].to(precision) * self.frequency.to(precision)
        cos, sin = angle.cos(), angle.sin()  # (N, 1, T, dim_head / 2)
        cos, sin = torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)
        return _rotate(query, cos, sin), _rotate(key, cos, sin)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    wide = x.to(cos.dtype)
    left, right = wide.chunk(2, dim=-1)  # pairs are (c, c + dim_head / 2)
    return torch.addcmul(wide * cos, torch.cat([right, left], dim=-1), sin).to(x.dtype)
