"""Leave one out: each user's last target is the test, the one before it the validation.

It puts figures beside published ones and serves nothing else: a model may have learned from what another
user did later. Splits by time come with the loader (``training.splits``).
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features.codes import NO_POSITION, PADDING
from training.batch import Batch, Rows


def keep_targets(rows: Rows, keep: Tensor) -> Rows:
    """The rows with only those targets that ``keep`` (B, L) bool names too; what they see stays."""
    mask = rows.loss_mask & keep
    return replace(rows, loss_mask=mask, read_at=rows.read_at.masked_fill(~mask, NO_POSITION))


def cut_after_targets(rows: Rows) -> Rows:
    """The rows without the events after their last target, so that no auxiliary loss can learn from them.

    Rows without a target are left out.
    """
    rows = rows.map(lambda tensor: tensor[rows.loss_mask.any(1)])
    places = torch.arange(rows.item.shape[1], device=rows.item.device)
    length = torch.where(rows.loss_mask, places + 1, 0).amax(1).to(rows.length.dtype)
    gone = places[None] >= length[:, None]
    events = ("item", "category", "type", "mode", "session", "theme", "session_theme", "ts")
    return replace(
        rows, length=length, **{name: getattr(rows, name).masked_fill(gone, PADDING) for name in events}
    )


class LastTargets:
    """Each user's last targets in order of (ts, row, place), found in a first pass over the same batches."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        parts = [_targets(batch.rows) for batch in batches]
        if not parts:
            raise ValueError("no batch to take targets from")
        user, ts, row, place = np.concatenate(parts, axis=1)
        order = np.lexsort((place, row, ts, user))
        ends = np.flatnonzero(np.append(user[order][1:] != user[order][:-1], True))
        size = np.diff(np.append(-1, ends))
        from_end = np.repeat(ends, size) - np.arange(len(order))  # 0 for a user's last target
        self._key = np.stack([row, ts, place], axis=1)[order]
        self._from_end = from_end

    def select(self, batches: Iterable[Batch], from_end: int = 0) -> Iterator[Batch]:
        """Batches with one target a user: his last (0), the one before (1), …"""
        return self._keep(batches, self._from_end == from_end)

    def before(self, batches: Iterable[Batch], from_end: int = 2) -> Iterator[Batch]:
        """Batches without each user's last ``from_end`` targets, for training; events after a row's last
        target that is left are cut off.
        """
        for batch in self._keep(batches, self._from_end >= from_end):
            yield Batch(cut_after_targets(batch.rows))

    def _keep(self, batches: Iterable[Batch], chosen: NDArray[np.bool_]) -> Iterator[Batch]:
        wanted = set(map(tuple, self._key[chosen].tolist()))
        for batch in batches:
            rows = batch.rows
            _, ts, row, place = _targets(rows)
            hits = [key in wanted for key in zip(row.tolist(), ts.tolist(), place.tolist(), strict=True)]
            keep = torch.zeros_like(rows.loss_mask)
            keep[rows.loss_mask] = torch.tensor(hits, dtype=torch.bool, device=keep.device)
            if any(hits):
                yield Batch(keep_targets(rows, keep))


def _targets(rows: Rows) -> NDArray[np.int64]:
    """(4, N) user, ts, row id and place of the targets, in row and place order."""
    row, place = rows.loss_mask.nonzero(as_tuple=True)
    columns = (rows.user_id[row], rows.ts[row, place], rows.row_id[row], place)
    found: NDArray[np.int64] = torch.stack(columns).cpu().numpy()
    return found
