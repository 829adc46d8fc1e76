"""What a sample may see of its row: which places, which categories, and events gathered from there."""

import torch
from torch import Tensor

from features.codes import FIRST_INDEX, NO_POSITION, PADDING
from training.batch import Rows, Samples
from training.strands import latest, link


def visible(rows: Rows, samples: Samples) -> Tensor:
    """(N, L) bool: the places that each sample may read."""
    places = torch.arange(rows.item.shape[1], device=rows.item.device)
    return places < samples.end[:, None]


def recent_places(end: Tensor, length: int) -> Tensor:
    """(N, T) int64: the last ``length`` (T) places before ``end`` (N,), ascending, -1 where fewer.

    >>> recent_places(torch.tensor([0, 2, 5]), 3).tolist()
    [[-1, -1, -1], [-1, 0, 1], [2, 3, 4]]
    """
    return (end.long()[:, None] + torch.arange(-length, 0, device=end.device)).clamp(min=NO_POSITION)


def gather_events(x: Tensor, row: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Events (N, ..., d) of ``x`` (B, L, d) at ``places`` (N, ...) of ``row`` (N,); and which are there."""
    row = row.long().view(-1, *[1] * (places.dim() - 1))
    return x[row, places.clamp(min=0)], places >= 0


def distinct_categories(rows: Rows, samples: Samples, most: int) -> Tensor:
    """(N, most) int32 distinct visible categories, newest first, 0 where there are fewer."""
    category = rows.category[samples.row]  # (N, L)
    newest = link(rows.category).following[samples.row] >= samples.end[:, None]
    newest &= visible(rows, samples) & (category >= FIRST_INDEX)
    last = latest(newest, most)
    return torch.where(last >= 0, category.gather(1, last.clamp(min=0)), PADDING).to(torch.int32)
