"""What a sample's visible events say about categories: ranks and ages, on the device.

The semantics are those of the strands of ``category``: a sample sees the places ``[0, end)``; codes below
``FIRST_INDEX`` name no category. A batch of groups brings the same for its own category (``Groups``);
here any categories can be asked for. All shapes are static.
"""

import torch
from torch import Tensor

from features.codes import FIRST_INDEX
from training.batch import Rows, Samples, gap_code
from training.layers.gather import visible


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
