"""What a sample's visible events say about categories: places, ranks and distinct keys, on the device.

The same semantics as ``features.strands`` for the family ``category``, on left-aligned rows: a sample
sees the places ``[0, end)``; codes below ``FIRST_INDEX`` name no category. All shapes are static.
"""

import torch
from torch import Tensor

from features.codes import FIRST_INDEX, NO_POSITION
from training.batch import Rows, Samples, gap_code


def visible(rows: Rows, samples: Samples) -> Tensor:
    """(N, L) bool: the places that each sample may read."""
    places = torch.arange(rows.item.shape[1], device=rows.item.device)
    return places < samples.end[:, None]


def latest(samples: Samples, length: int) -> Tensor:
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
    category = rows.category
    newest = next_of_category(category)[samples.row] >= samples.end[:, None]
    newest &= visible(rows, samples) & (category[samples.row] >= FIRST_INDEX)
    places = torch.arange(category.shape[1], device=category.device)
    ranked = torch.where(newest, places, NO_POSITION).sort(dim=1, descending=True).values[:, :most]
    found = category[samples.row[:, None], ranked.clamp(min=0)] * (ranked >= 0)
    return torch.nn.functional.pad(found, (0, most - found.shape[1])).to(torch.int32)


def next_of_category(category: Tensor) -> Tensor:
    """(B, L) int64 place of the next event with an equal category, L where there is none."""
    length = category.shape[1]
    order = category.argsort(dim=1, stable=True)
    ranked = category.gather(1, order)
    following = torch.full_like(order, length)
    same = ranked[:, 1:] == ranked[:, :-1]
    following[:, :-1] = torch.where(same, order[:, 1:], length)
    return torch.empty_like(order).scatter(1, order, following)


def at_places(values: Tensor, row: Tensor, pos: Tensor) -> Tensor:
    """(N, T, …) of ``values`` (B, L, …) at places ``pos`` (N, T) of rows ``row`` (N,); 0 where pos is -1."""
    found = values[row[:, None], pos.clamp(min=0).long()]
    empty = (pos < 0).reshape(*pos.shape, *[1] * (values.dim() - 2))
    return found.masked_fill(empty, 0)
