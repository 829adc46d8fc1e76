"""The batch contract between the loader, the models and the evaluation.

A batch holds rows of ``gold/user_sequences`` (a user's chunk each) and what is asked of them. Rows are
aligned left: place 0 is the oldest event of the chunk, padding stands at the end with code 0. Shapes:
B rows, L places (bucketed), N samples, C negatives of a sample, K negatives shared by the batch,
G groups of M samples. Layout: our choice.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

Part = TypeVar("Part", bound="_Tensors")


@dataclass(frozen=True)
class _Tensors:
    """A bundle of tensors that moves between devices as one; fields may be None or bundles."""

    def map(self: Part, change: Callable[[Tensor], Tensor]) -> Part:
        """The bundle with every tensor changed."""
        changed: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                changed[field.name] = change(value)
            elif isinstance(value, _Tensors):
                changed[field.name] = value.map(change)
        return replace(self, **changed)

    def to(self: Part, device: torch.device | str) -> Part:
        """The bundle on a device; copies run beside the computation where memory is pinned."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self: Part) -> Part:
        """The bundle in page-locked memory, for copies to a GPU."""
        return self.map(Tensor.pin_memory)


@dataclass(frozen=True)
class Rows(_Tensors):
    """Events of B rows and the targets among them.

    Codes are those of ``training.vocabulary``: 0 padding, 1 unknown, 2 … trained. A target at place p
    sees the places up to ``read_at[p]``, the last event with ts strictly before its own. Of the session
    that holds the last visible event, ``session_theme`` must not be read: its running theme counts.
    """

    item: Tensor  # (B, L) int32
    category: Tensor  # (B, L) int32
    type: Tensor  # (B, L) int32
    mode: Tensor  # (B, L) int32
    session: Tensor  # (B, L) int32 session ordinal, from 1, ascending; 0 padding
    theme: Tensor  # (B, L) int32 theme of the session so far, this event included; 0 padding, 1 none
    session_theme: Tensor  # (B, L) int32 final theme of the event's session
    ts: Tensor  # (B, L) int64 unix seconds
    length: Tensor  # (B,) int32 at least 1
    read_at: Tensor  # (B, L) int32; -1 where nothing is visible, and where loss_mask is False
    query_gap: Tensor  # (B, L) int8, see gap_code
    new_session: Tensor  # (B, L) bool: the target opens a session (or its own is not open at read_at)
    loss_mask: Tensor  # (B, L) bool: this place is a target of this batch
    row_id: Tensor  # (B,) int64, names the row within the table version
    user_id: Tensor  # (B,) int64, names the user within the table version


@dataclass(frozen=True)
class Samples(_Tensors):
    """N targets, each with what it may see and, where candidates are given, 1 + C of them.

    Sample n sees the places ``[0, end[n])`` of row ``row[n]``: ``end = read_at + 1``.
    """

    row: Tensor  # (N,) int64
    end: Tensor  # (N,) int32
    place: Tensor  # (N,) int32 place of the target itself; never an input of a model
    item: Tensor  # (N,) int32 the target's item
    category: Tensor  # (N,) int32 the target's category
    query_ts: Tensor  # (N,) int64 unix seconds
    query_gap: Tensor  # (N,) int8
    new_session: Tensor  # (N,) bool
    cand_item: Tensor | None = None  # (N, 1 + C) int32, column 0 is the positive
    cand_category: Tensor | None = None  # (N, 1 + C) int32
    cand_logq: Tensor | None = None  # (N, 1 + C) float32 log of the expected count among the negatives


@dataclass(frozen=True)
class Shared(_Tensors):
    """K negatives shared by every target of a batch, for the sampled softmax."""

    item: Tensor  # (K,) int32
    logq: Tensor  # (K,) float32 log of the expected count of the item among the K draws
    positive_logq: Tensor  # (B, L) float32 the same for the item at each place of the rows


@dataclass(frozen=True)
class Groups(_Tensors):
    """G groups of M samples of one category each, with negatives from the category (ULIM).

    Samples are those of ``Batch.samples``, N = G * M, group after group. A batch of samples that fill no
    group has M = 1 and another K. A batch is filled up by repeating groups with ``mask`` False. The category
    is that of the target's item, for the negatives to be rivals of it; where it is unknown (1) there are
    neither negatives nor ``long_pos``. Places are places of the sample's row, -1 where empty.
    """

    category: Tensor  # (G,) int32
    negative: Tensor  # (G, K) int32 items of the group's category, 0 where there are fewer
    logq: Tensor  # (G, K) float32
    positive_logq: Tensor  # (N,) float32
    mask: Tensor  # (N,) bool
    long_pos: Tensor  # (N, 64) int32 visible events of the category, ascending, right-aligned
    short_pos: Tensor  # (N, 100) int32 the latest visible events, ascending, right-aligned
    pointer_category: Tensor  # (N, 32) int32 distinct visible categories, newest first, 0 where fewer


@dataclass(frozen=True)
class Batch(_Tensors):
    """Rows, and what is asked of them."""

    rows: Rows
    samples: Samples | None = None
    shared: Shared | None = None
    groups: Groups | None = None


GAP_CODES = 32
"""Codes of ``query_gap`` lie in 0 … 31."""


def gap_code(seconds: Tensor) -> Tensor:
    """int8 code of the time since the last visible event: floor(log2(1 + seconds)), at most 31.

    Zero or negative seconds give 0. A target that sees nothing has code 31.

    >>> gap_code(torch.tensor([0, 1, 2, 3, 1800, 86400])).tolist()
    [0, 1, 1, 2, 10, 16]
    """
    return torch.log2(1 + seconds.clamp(min=0).double()).floor().clamp(max=GAP_CODES - 1).to(torch.int8)


def all_targets(rows: Rows) -> Samples:
    """Every target of the rows as a sample, in row and place order, those that see nothing included."""
    row, place = rows.loss_mask.nonzero(as_tuple=True)
    return Samples(
        row=row,
        end=rows.read_at[row, place] + 1,
        place=place.to(torch.int32),
        item=rows.item[row, place],
        category=rows.category[row, place],
        query_ts=rows.ts[row, place],
        query_gap=rows.query_gap[row, place],
        new_session=rows.new_session[row, place],
    )
