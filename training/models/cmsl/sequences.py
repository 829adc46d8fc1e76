"""The ranker's raw input: the latest events of each sample and, next to them, materialised strands."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from features.codes import NO_POSITION
from training.layers.embed import INIT_STD


def latest(end: Tensor, length: int) -> Tensor:
    """(N, 1, length) the last places before ``end`` (N,), ascending, left-aligned, -1 behind the newest.

    >>> latest(torch.tensor([2, 5]), 3).tolist()
    [[[0, 1, -1]], [[2, 3, 4]]]
    """
    size = end.clamp(max=length)
    step = torch.arange(length, device=end.device)
    places = (end - size)[:, None] + step
    return places.masked_fill(step >= size[:, None], NO_POSITION)[:, None]


def aligned(strands: Tensor, end: Tensor, length: int) -> Tensor:
    """``strands`` (N, S, T), right-aligned, moved so that their newest events stand below ``latest``'s.

    (N, S, length), -1 where empty. What a strand has beyond ``min(end, length)`` events is left out.

    >>> aligned(torch.tensor([[[-1, 0, 1]], [[-1, -1, 4]]]), torch.tensor([2, 5]), 3).tolist()
    [[[0, 1, -1]], [[-1, -1, 4]]]
    """
    size = end.clamp(max=length)[:, None, None]
    step = torch.arange(length, device=end.device)
    wide = pad(strands[..., -length:].long(), (max(0, length - strands.shape[-1]), 0), value=NO_POSITION)
    source = (step + length - size).clamp(max=length - 1)  # (N, 1, length)
    moved = wide.gather(2, source.expand(*wide.shape[:2], length))
    return moved.masked_fill(step >= size, NO_POSITION)


class GatedSum(nn.Module):
    """Several raw sequences, gated and summed into one (PAPERS.md [D]; the gate's form is our choice).

    A sequence's gate is a sigmoid per channel of its token and of which sequence it is; sequences are put
    side by side by recency, so that the newest event of each falls on the newest place.
    """

    def __init__(self, dim: int, sequences: int) -> None:
        super().__init__()
        self.which = nn.Parameter(torch.randn(sequences, dim) * INIT_STD)
        self.gate = nn.Linear(dim, dim)

    def forward(self, events: Tensor, places: Tensor, row: Tensor) -> Tensor:
        """(N, T, d) from ``events`` (B, L, d), ``places`` (N, F, T) of rows ``row`` (N,), -1 empty."""
        tokens = events[row[:, None, None], places.clamp(min=0)] + self.which[:, None]  # (N, F, T, d)
        gated = self.gate(tokens).sigmoid() * tokens
        summed: Tensor = (gated * (places >= 0)[..., None]).sum(1)
        return summed
