"""Events of a sample's history, gathered to a row of their own."""

import torch
from torch import Tensor


def recent_places(end: Tensor, length: int) -> Tensor:
    """(N, T) int64: the last ``length`` (T) places before ``end`` (N,), ascending, -1 where fewer.

    >>> recent_places(torch.tensor([0, 2, 5]), 3).tolist()
    [[-1, -1, -1], [-1, 0, 1], [2, 3, 4]]
    """
    return (end.long()[:, None] + torch.arange(-length, 0, device=end.device)).clamp(min=-1)


def gather_events(x: Tensor, row: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Events (N, ..., d) of ``x`` (B, L, d) at ``places`` (N, ...) of ``row`` (N,); and which are there."""
    row = row.long().view(-1, *[1] * (places.dim() - 1))
    return x[row, places.clamp(min=0)], places >= 0
