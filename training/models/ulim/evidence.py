"""What a user's visible history says about each of its categories, as numbers.

The category baselines rank by one of these numbers; PGIN's pointer reads all of them, so that it can
always express the baselines. Our choice.
"""

import math

import torch
from torch import Tensor

from training.batch import Rows, Samples
from training.models.ulim.history import visible

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


def category_evidence(rows: Rows, samples: Samples, category: Tensor) -> Tensor:
    """(N, J, FEATURES) float32 about ``category`` (N, J); 0 where the category has no visible event.

    In order: log of the count decayed at each of ``HALF_LIVES``, log count, log seconds since the last
    event, log of 1 + the count in the last visible session, and 1 if that session is the last event's.
    """
    match = rows.category[samples.row][:, None, :] == category[:, :, None]
    match &= visible(rows, samples)[:, None, :] & (category > 0)[:, :, None]  # (N, J, L)
    numbers = []
    for half_life in HALF_LIVES:
        weight = log_decay(rows, samples, half_life).float()[:, None]
        decayed = torch.where(match, weight, -torch.inf).amax(-1, keepdim=True)
        peak = torch.where(decayed > -torch.inf, decayed, 0)
        total = torch.where(match, (weight - peak).exp(), 0).sum(-1).clamp(min=1).log() + peak[..., 0]
        numbers.append(total.clamp(min=FLOOR) * LOG_SCALE)
    count = match.sum(-1)
    numbers.append(count.clamp(min=1).float().log())
    age = samples.query_ts[:, None] - rows.ts[samples.row]
    youngest = torch.where(match, age[:, None], torch.iinfo(torch.int64).max).amin(-1)
    youngest = torch.where(count > 0, youngest, 0).clamp(min=0)
    numbers.append((1 + youngest).double().log().float() * LOG_SCALE)
    last = samples.end.long()[:, None].sub(1).clamp(min=0)
    session = rows.session[samples.row]
    here = (match & (session == session.gather(1, last))[:, None]).sum(-1)
    numbers.append((1 + here).float().log())
    numbers.append((here > 0).float())
    return torch.stack(numbers, dim=-1) * (count > 0)[..., None]
