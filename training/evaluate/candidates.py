"""Negatives for evaluating a ranker: uniform, by popularity, or within the target's category.

A target's draws are a pure function of (seed, user, ts, item): every model, training seed, batch size and
device gets the same ones, so that comparisons are paired. Drawn with replacement, the target itself
excluded exactly. Our choice.
"""

from dataclasses import replace
from typing import Final, Literal, get_args

import torch
from torch import Tensor

from features.codes import FIRST_INDEX, PADDING
from training.batch import Rows, Samples

Kind = Literal["uniform", "popularity", "category"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


class Negatives:
    """Draws of one kind, ``drawn`` of them per target.

    ``counts`` (V,) holds the items' numbers of training events and ``category`` (V,) their categories;
    codes 0 and 1 and, for ``popularity``, items without events are never drawn. A target alone in its
    category has no negatives: its candidates are padding (code 0).
    """

    def __init__(self, kind: Kind, counts: Tensor, category: Tensor, drawn: int = 100, seed: int = 0) -> None:
        if kind not in KINDS:
            raise ValueError(f"negatives {kind!r} are unknown; known: {', '.join(KINDS)}")
        self.kind, self.drawn, self.seed = kind, drawn, seed
        counts, self._category = counts.cpu().long(), category.cpu().to(torch.int32)
        self._weight = counts.clamp(min=0) if kind == "popularity" else torch.ones_like(counts)
        self._weight[:FIRST_INDEX] = 0
        self._stratum = self._category.long() if kind == "category" else torch.zeros_like(counts)

        self._item = self._stratum.argsort(stable=True)  # items, stratum after stratum
        self._ends = self._weight[self._item].cumsum(0)  # (V,) weight up to and with each of them
        self._opens = torch.empty_like(counts)  # weight before each item, by item
        self._opens[self._item] = self._ends - self._weight[self._item]
        strata = int(self._stratum.max()) + 1
        self._total = torch.zeros(strata, dtype=torch.int64).index_add(0, self._stratum, self._weight)
        self._before = self._total.cumsum(0) - self._total

    def candidates(self, rows: Rows, samples: Samples) -> Samples:
        """The samples with 1 + C candidates, the target in column 0.

        ValueError where a target is not a trained item (code 2 or more).
        """
        item = samples.item.cpu().long()
        if bool(((item < FIRST_INDEX) | (item >= len(self._weight))).any()):
            raise ValueError("a target outside the trained catalogue has no candidates; leave it out first")
        user = rows.user_id[samples.row].cpu()
        chance = _uniform(torch.stack([user, samples.query_ts.cpu(), item]), self.drawn, self.seed)  # (N, C)
        own, stratum = self._weight[item][:, None], self._stratum[item][:, None]
        others = self._total[stratum] - own  # (N, 1) weight of the stratum without the target
        place = chance.remainder(others.clamp(min=1)) + self._before[stratum]
        place = place + own * (place >= self._opens[item][:, None])
        found = torch.searchsorted(self._ends, place, right=True).clamp(max=len(self._ends) - 1)
        negative = self._item[found].masked_fill(others == 0, PADDING)
        cand = torch.cat([item[:, None], negative], dim=1).to(torch.int32)
        device = samples.item.device
        return replace(
            samples, cand_item=cand.to(device), cand_category=self._category[cand.long()].to(device)
        )


def _uniform(keys: Tensor, drawn: int, seed: int) -> Tensor:
    """(N, C) int64, uniform on 0 … 2^62 - 1: draw c of N keys, each a column of ``keys`` (parts, N)."""
    state = _mix(torch.full_like(keys[0], seed))
    for part in keys:
        state = _mix(state ^ part)
    return _mix(state[:, None] ^ _mix(torch.arange(drawn) + 1)) & ((1 << 62) - 1)


def _mix(value: Tensor) -> Tensor:
    """SplitMix64 (Steele et al. 2014) of int64, whose products wrap."""
    value = value + _signed(0x9E3779B97F4A7C15)
    value = (value ^ _shifted(value, 30)) * _signed(0xBF58476D1CE4E5B9)
    value = (value ^ _shifted(value, 27)) * _signed(0x94D049BB133111EB)
    return value ^ _shifted(value, 31)


def _signed(word: int) -> int:
    """A 64-bit word as a signed integer."""
    return word - (1 << 64) if word >> 63 else word


def _shifted(value: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)
