"""What a sample's visible events say about categories: places, ranks and distinct keys, on the device.

The semantics are those of the strands of ``category``: a sample sees the places ``[0, end)``; codes below
``FIRST_INDEX`` name no category. A batch of groups brings the same for its own category (``Groups``);
here any categories can be asked for. All shapes are static.
"""

import torch
from torch import Tensor

from features.codes import FIRST_INDEX, NO_POSITION, PADDING
from training.batch import Rows, Samples, gap_code
from training.strands import latest, link


def visible(rows: Rows, samples: Samples) -> Tensor:
    """(N, L) bool: the places that each sample may read."""
    places = torch.arange(rows.item.shape[1], device=rows.item.device)
    return places < samples.end[:, None]


def latest_events(samples: Samples, length: int) -> Tensor:
    """(N, length) int64 places of the last visible events, ascending, right-aligned, -1 where empty."""
    places = samples.end[:, None].long() + torch.arange(-length, 0, device=samples.end.device)
    return places.clamp(min=NO_POSITION)


def ranks_in_category(rows: Rows, samples: Samples, category: Tensor, length: int) -> Tensor:
    """(N, K, L) int64: how many visible events of the category stand from a place on, itself included.

    ``category`` (N, K). 1 is the newest event of that category, ``length`` the oldest one counted;
    0 marks other categories, events beyond ``length`` and what the sample may not see.
    """
    match = rows.category[samples.row][:, None, :] == category[:, :, None]
    match &= (visible(rows, samples))[:, None, :] & (category >= FIRST_INDEX)[:, :, None]
    rank = match.flip(-1).cumsum(-1).flip(-1)
    return rank * (match & (rank <= length))


def ages(rows: Rows, samples: Samples) -> Tensor:
    """(N, 1, L) int64: 1 + ``gap_code`` of the time from each visible event to the target, else 0."""
    age = 1 + gap_code(samples.query_ts[:, None] - rows.ts[samples.row]).long()
    return (age * visible(rows, samples))[:, None]


def ranks_of_places(pos: Tensor) -> Tensor:
    """(N, T) int64 the same for right-aligned places: the rightmost is 1, empty places are 0."""
    back = torch.arange(pos.shape[1], 0, -1, device=pos.device)
    return back * (pos >= 0)


def distinct_categories(rows: Rows, samples: Samples, most: int) -> Tensor:
    """(N, most) int32 distinct visible categories, newest first, 0 where there are fewer."""
    category = rows.category[samples.row]  # (N, L)
    newest = link(rows.category).following[samples.row] >= samples.end[:, None]
    newest &= visible(rows, samples) & (category >= FIRST_INDEX)
    last = latest(newest, most)
    return torch.where(last >= 0, category.gather(1, last.clamp(min=0)), PADDING).to(torch.int32)


def at_places(values: Tensor, row: Tensor, pos: Tensor) -> Tensor:
    """(N, T, …) of ``values`` (B, L, …) at places ``pos`` (N, T) of rows ``row`` (N,); 0 where pos is -1."""
    found = values[row[:, None], pos.clamp(min=0).long()]
    empty = (pos < 0).reshape(*pos.shape, *[1] * (values.dim() - 2))
    return found.masked_fill(empty, 0)
