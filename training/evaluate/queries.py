"""What a model is asked in an evaluation: each distinct question once, without its answer, in pieces."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from features.codes import NO_POSITION, PADDING
from training.batch import Rows, Samples

SCORES_AT_ONCE = 1 << 25
"""Scores that one call of a model may return, 128 MiB of float32 (our choice)."""


class Distinct(NamedTuple):
    """Q distinct questions among N samples."""

    samples: Samples  # Q
    query: Tensor  # (N,) int64, the question of each sample


def distinct(samples: Samples) -> Distinct:
    """Samples that see the same prefix of a row at the same time ask the same question.

    Events of one basket (same user and ts) share it, so that a basket is scored once. Questions are in
    order of row and prefix.
    """
    key = torch.stack([samples.row, samples.end.long(), samples.new_session.long()], dim=1)  # (N, 3)
    unique, query = torch.unique(key, dim=0, return_inverse=True)
    first = torch.full((len(unique),), len(key), dtype=torch.int64, device=key.device)
    first.scatter_reduce_(0, query, torch.arange(len(key), device=key.device), "amin")
    return Distinct(samples.map(lambda tensor: tensor[first]), query)


def without_answers(samples: Samples) -> Samples:
    """The samples as a model may see them in an evaluation: no item, category or place of the target.

    Candidates stay: they hold the positive among others, in a column that says nothing once a model
    scores columns alike.
    """
    return replace(
        samples,
        item=torch.full_like(samples.item, PADDING),
        category=torch.full_like(samples.category, PADDING),
        place=torch.full_like(samples.place, NO_POSITION),
    )


def pieces(
    rows: Rows, samples: Samples, width: int, most: int = SCORES_AT_ONCE
) -> Iterator[tuple[Rows, Samples]]:
    """Consecutive samples, each piece with the rows that it needs, of at most ``most`` scores.

    ``width`` is the number of scores of one sample; a piece has at least one sample.
    """
    step = max(1, most // max(width, 1))
    total = len(samples.row)
    for start in range(0, total, step):
        part = samples.map(lambda tensor, at=start: tensor[at : at + step])  # type: ignore[misc]
        needed, row = torch.unique(part.row, return_inverse=True)
        yield rows.map(lambda tensor, keep=needed: tensor[keep]), replace(part, row=row)  # type: ignore[misc]
