"""What a user's visible history says about each of its categories, as numbers.

The category baselines rank by one of these numbers; PGIN's pointer reads all of them, so that it can
always express the baselines. Our choice.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from features.codes import PADDING
from training.batch import Rows, Samples
from training.layers.gather import visible
from training.models.ulim.scatter import scatter_logsumexp

HALF_LIVES = (3_600.0, 86_400.0, 7 * 86_400.0, 30 * 86_400.0)
"""Seconds: an hour, a day, a week, a month."""

FEATURES = len(HALF_LIVES) + 4
"""Numbers for each category, see ``category_evidence``."""

LOG_SCALE = 0.1
"""Logs of times and of decayed counts span tens; this brings them near 1."""

FLOOR = -40.0
"""Decayed counts below exp(FLOOR) are as good as none."""


def log_decay(rows: Rows, samples: Samples, half_life: float) -> Tensor:
    """(N, L) float64 log weight of each visible event, ``-ln 2 * age / half_life``; -inf elsewhere.

    Ages and ``half_life`` are in seconds.
    """
    age = (samples.query_ts[:, None] - rows.ts[samples.row]).clamp(min=0).double()
    weight = age * (-math.log(2) / half_life)
    return weight.masked_fill(~visible(rows, samples), -torch.inf)


def category_evidence(rows: Rows, samples: Samples, category: Tensor, size: int) -> Tensor:
    """(N, J, FEATURES) float32 about ``category`` (N, J), codes below ``size``, those from 1 on distinct.

    In order: log of the count decayed at each of ``HALF_LIVES``, log count, log of 1 + seconds since the
    last event, log of 1 + the count in the last visible session, and 1 if that is not 0. All are 0 where
    the category has no visible event.
    """
    seen = visible(rows, samples)
    slot = _slots(rows.category[samples.row], category, size)  # (N, L)
    slots = category.shape[1] + 1  # the last one takes what is not asked for
    numbers = []
    for half_life in HALF_LIVES:
        weight = log_decay(rows, samples, half_life).float()
        decayed = scatter_logsumexp(weight, slot, slots, FLOOR)
        numbers.append(decayed.clamp(min=FLOOR) * LOG_SCALE)
    zeros = torch.zeros(len(slot), slots, device=slot.device)
    count = zeros.scatter_add(1, slot, seen.float())
    numbers.append(count.clamp(min=1).log())
    age = (samples.query_ts[:, None] - rows.ts[samples.row]).clamp(min=0)
    log_age = (1 + age.double()).log().float().masked_fill(~seen, torch.inf)
    youngest = torch.full_like(zeros, torch.inf).scatter_reduce(1, slot, log_age, "amin")
    numbers.append(torch.where(count > 0, youngest, 0) * LOG_SCALE)
    session = rows.session[samples.row]
    last = (samples.end.long() - 1).clamp(min=0)[:, None]
    here = zeros.scatter_add(1, slot, (seen & (session == session.gather(1, last))).float())
    numbers += [(1 + here).log(), (here > 0).float()]
    known = (count > 0) & pad(category > PADDING, (0, 1))
    return (torch.stack(numbers, dim=-1) * known[..., None])[:, :-1]


def _slots(tag: Tensor, category: Tensor, size: int) -> Tensor:
    """(N, L) int64: at which j of ``category`` (N, J) the event's own stands, J where it does not."""
    names = torch.arange(category.shape[1], device=tag.device).expand_as(category)
    slot = torch.full((len(tag), size), category.shape[1], device=tag.device)
    return slot.scatter(1, category.long(), names).gather(1, tag.long())
