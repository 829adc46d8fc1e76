"""A bounded number of targets to measure on: whole users, the same ones for every model and run."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from training.batch import Batch, Rows, all_targets
from training.rows import concat, take


class _Held(NamedTuple):
    rows: list[Rows]
    targets: int
    below: int | None  # users from this id on are out; None: none are


def thin(rows: Iterable[Rows], targets: int, tokens: int) -> list[Batch]:
    """Users in the order of their ids, which are hashes, for as long as they bring ``targets`` at most.

    The first user is taken whatever he brings. Batches hold about ``tokens`` places. At most twice the
    targets asked for, and one batch, are held at a time. Our choice.
    """
    held = _Held([], 0, None)
    for more in rows:
        part = _users_below(more, held.below)
        held = _Held([*held.rows, part], held.targets + int(part.loss_mask.sum()), held.below)
        if held.targets > 2 * targets:
            held = _cut(held, targets)
    by_length: dict[int, list[Rows]] = {}
    for part in _cut(held, targets).rows:
        by_length.setdefault(part.item.shape[1], []).append(part)
    return [
        Batch(some, all_targets(some))
        for length, parts in sorted(by_length.items())
        for some in _pieces(concat(parts), max(1, tokens // length))
    ]


def _cut(held: _Held, targets: int) -> _Held:
    """The first users that bring no more than the targets; a user who is out stays out."""
    if not held.rows:
        return held
    user = torch.cat([part.user_id for part in held.rows]).numpy()
    brings = torch.cat([part.loss_mask.sum(1) for part in held.rows]).numpy()
    users, place = np.unique(user, return_inverse=True)
    total = np.cumsum(np.bincount(place, brings).astype(np.int64))
    most = max(int(np.searchsorted(total, targets, side="right")), 1)
    below = int(users[most]) if most < len(users) else held.below
    rows = [part for whole in held.rows if len((part := _users_below(whole, below)).length)]
    return _Held(rows, int(total[most - 1]), below)


def _users_below(rows: Rows, below: int | None) -> Rows:
    return rows if below is None else take(rows, (rows.user_id < below).nonzero()[:, 0])


def _pieces(rows: Rows, size: int) -> Iterator[Rows]:
    for some in torch.split(torch.arange(len(rows.length)), size):
        yield take(rows, some)
