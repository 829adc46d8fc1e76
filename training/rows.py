"""From gold rows to training rows: codes mapped, aligned left, cut to a split and to windows."""

from dataclasses import fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features.codes import FIRST_INDEX, NO_POSITION, PADDING
from training.batch import GAP_CODES, Rows, gap_code
from training.gold import EVENTS, Block
from training.splits import Split
from training.vocabulary import TrainVocabulary
from training.windows import Targets, WindowRule, Windows, cut

Ints = NDArray[np.int64]

GAP_OF_NOTHING = GAP_CODES - 1
"""``query_gap`` of a target that sees nothing."""


def expand(
    block: Block, vocabulary: TrainVocabulary, split: Split, rule: WindowRule, *, known_only: bool
) -> dict[int, Rows]:
    """Training rows of a block's targets in the split, by padded length, on the CPU.

    Every target of the split is in exactly one row; events after a row's last target are left out, and so
    are rows without a target. ``known_only`` leaves out targets whose item is unknown: they can't be
    learned, but they count in an evaluation. Rows keep the block's order.
    """
    targets = kept_targets(block, vocabulary, split, known_only)
    windows = cut(targets, rule)
    padded = np.asarray(rule.lengths)[np.searchsorted(rule.lengths, windows.length)]
    return {
        int(length): _rows(block, vocabulary, windows, padded == length, int(length))
        for length in np.unique(padded)
    }


def kept_targets(block: Block, vocabulary: TrainVocabulary, split: Split, known_only: bool) -> Targets:
    """The block's targets in the split, by place from the row's first event; see ``expand``."""
    row, slot = np.nonzero(block.target_pos >= 0)
    pos, read = block.target_pos[row, slot].astype(np.int64), block.read_pos[row, slot]
    ts = block.events["ts"][row, pos]
    wanted = (ts >= split.start) & (ts < split.end)
    if known_only:
        wanted &= vocabulary.encode("item", block.events["item"][row, pos]) >= FIRST_INDEX
    row, pos, read = row[wanted], pos[wanted], read[wanted]
    padding = block.bucket - block.length[row]
    return Targets(row, pos - padding, np.where(read >= 0, read - padding, NO_POSITION))


def window_events(
    block: Block, vocabulary: TrainVocabulary, windows: Windows, kept: Ints, length: int
) -> dict[str, Tensor]:
    """The events of the windows ``kept`` (M,), padded to ``length``: (M, L) by the names of ``EVENTS``."""
    row = windows.row[kept]
    place = np.arange(length)
    source = windows.begin[kept, None] + place  # (M, L) places of the row
    source += np.where(place >= windows.jump_at[kept, None], windows.jump[kept, None], 0)
    filled = place < windows.length[kept, None]
    source += ((row + 1) * block.bucket - block.length[row])[:, None]
    source[~filled] = 0

    columns: dict[str, Tensor] = {}
    for name in EVENTS:
        values = block.events[name].reshape(-1)[source]
        values = values if name == "ts" else vocabulary.encode(name, values)
        values[~filled] = PADDING
        columns[name] = torch.from_numpy(values)
    return columns


def _rows(
    block: Block, vocabulary: TrainVocabulary, windows: Windows, chosen: NDArray[np.bool_], length: int
) -> Rows:
    """The chosen windows, padded to ``length``."""
    kept = np.flatnonzero(chosen)
    row, columns = windows.row[kept], window_events(block, vocabulary, windows, kept, length)
    own = np.flatnonzero(chosen[windows.window])
    number = np.cumsum(chosen) - 1
    at = torch.from_numpy(number[windows.window[own]]), torch.from_numpy(windows.place[own])
    read = torch.from_numpy(windows.read[own])
    asked = _asked(columns, at, read)
    return Rows(
        **columns,
        **asked,
        length=torch.from_numpy(windows.length[kept].astype(np.int32)),
        row_id=torch.from_numpy(block.row_id[row]),
        user_id=torch.from_numpy(block.user_id[row]),
    )


def _asked(columns: dict[str, Tensor], at: tuple[Tensor, Tensor], read: Tensor) -> dict[str, Tensor]:
    """What is asked at the targets ``at`` (row, place), each reading up to ``read``."""
    shape = columns["ts"].shape
    loss_mask = torch.zeros(shape, dtype=torch.bool)
    read_at = torch.full(shape, NO_POSITION, dtype=torch.int32)
    query_gap = torch.zeros(shape, dtype=torch.int8)
    new_session = torch.zeros(shape, dtype=torch.bool)
    loss_mask[at] = True
    read_at[at] = read.to(torch.int32)
    seen, visible = (at[0], read.clamp(min=0)), read >= 0
    gap = columns["ts"][at] - columns["ts"][seen]
    query_gap[at] = torch.where(visible, gap_code(gap), torch.tensor(GAP_OF_NOTHING, dtype=torch.int8))
    new_session[at] = (columns["session"][at] != columns["session"][seen]) | ~visible
    return {"loss_mask": loss_mask, "read_at": read_at, "query_gap": query_gap, "new_session": new_session}


def concat(parts: list[Rows]) -> Rows:
    """Rows of one length, one part after the other."""
    if len(parts) == 1:
        return parts[0]
    return Rows(
        **{field.name: torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Rows)}
    )


def take(rows: Rows, index: Tensor) -> Rows:
    """The rows asked for, in that order."""
    return rows.map(lambda values: values[index])
