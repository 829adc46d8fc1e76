"""Weighted draws of items from disjoint parts of the catalogue, exact in integers."""

from typing import Final

import torch
from torch import Generator, Tensor

from features.codes import FIRST_INDEX, PADDING

POWER: Final = 0.75
"""Negatives are drawn by count ** POWER (word2vec; TRAINING.md)."""

_RANDOM: Final = 1 << 62
_GRID: Final = 1 << 10  # weights are multiples of 1 / _GRID, so that sums have no rounding


def weights(count: Tensor, power: float = POWER) -> Tensor:
    """(V,) int64 weights ∝ count ** power of items seen in training; codes 0 and 1 and unseen ones get 0."""
    seen = (count > 0) & (torch.arange(len(count)) >= FIRST_INDEX)
    weight = (count.clamp(min=1).double() ** power * _GRID).round().long()
    return torch.where(seen, weight, 0)


class Strata:
    """Draws with replacement from the items of a stratum, in proportion to their weights."""

    def __init__(self, weight: Tensor, stratum: Tensor) -> None:
        """``weight`` (V,) int64, 0 for what is never drawn; ``stratum`` (V,) int64 of every item."""
        self.weight, self.stratum = weight, stratum
        self.item = stratum.argsort(stable=True)  # (V,) items, stratum after stratum
        self._ends = weight[self.item].cumsum(0)  # weight up to and with each of them
        self._opens = torch.empty_like(weight).scatter(0, self.item, self._ends - weight[self.item])
        size = int(stratum.max()) + 1
        self.total = torch.zeros(size, dtype=torch.int64).index_add(0, stratum, weight)
        self._before = self.total.cumsum(0) - self.total

    def draw(self, stratum: Tensor, drawn: int, generator: Generator) -> Tensor:
        """(N, drawn) int64 items of each stratum (N,); padding where it holds none."""
        total = self.total[stratum][:, None]
        place = self._before[stratum][:, None] + _below(total, drawn, generator)
        return self._at(place).masked_fill(total == 0, PADDING)

    def others(self, item: Tensor, drawn: int, generator: Generator) -> Tensor:
        """(N, drawn) int64 items of each item's (N,) stratum other than itself; padding where it is alone."""
        own, before = self.weight[item][:, None], self._before[self.stratum[item]][:, None]
        rest = self.total[self.stratum[item]][:, None] - own
        place = before + _below(rest, drawn, generator)
        place = place + own * (place >= self._opens[item][:, None])
        return self._at(place).masked_fill(rest == 0, PADDING)

    def _at(self, place: Tensor) -> Tensor:
        return self.item[torch.searchsorted(self._ends, place, right=True).clamp(max=len(self.item) - 1)]


def log_expected(weight: Tensor, total: Tensor, drawn: int) -> Tensor:
    """float32 log of how often ``drawn`` draws give an item in the mean; 0 where it is never drawn."""
    expected = drawn * weight.double() / total.clamp(min=1).double()
    return torch.where(weight > 0, expected, 1.0).log().float()


def _below(total: Tensor, drawn: int, generator: Generator) -> Tensor:
    """(N, drawn) int64 uniform on 0 … total - 1 of ``total`` (N, 1); the bias is below total / 2^62."""
    random = torch.randint(0, _RANDOM, (len(total), drawn), generator=generator)
    return random.remainder(total.clamp(min=1))
