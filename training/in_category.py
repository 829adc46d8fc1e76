"""Negatives from the category of the target, shared by a group of samples (ULIM)."""

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from features.codes import FIRST_INDEX, PADDING
from training.strata import Strata, log_expected, weights


class Drawn(NamedTuple):
    """Negatives of G categories."""

    item: Tensor  # (G, K) int32, 0 where there are fewer
    logq: Tensor  # (G, K) float32


class InCategory:
    """K negatives of a category: all its items where they are no more than K, else draws by count ** 0.75.

    With all of them the softmax within the category is exact, and ``logq`` is 0 (TRAINING.md). Unknown
    categories (code 1) have none: their items have nothing in common.
    """

    def __init__(self, count: Tensor, item_category: Tensor) -> None:
        """``count`` (V,) and ``item_category`` (V,) are those of the vocabulary."""
        known = torch.arange(len(count)) >= FIRST_INDEX
        category = torch.where(known, item_category.long(), PADDING)
        self.item_category = category
        self._strata = Strata(torch.where(category >= FIRST_INDEX, weights(count), 0), category)
        sizes = torch.bincount(category)
        self._size = torch.where(torch.arange(len(sizes)) >= FIRST_INDEX, sizes, 0)
        self._first = sizes.cumsum(0) - sizes

    def draw(self, category: Tensor, drawn: int, generator: Generator) -> Drawn:
        """Negatives for each category (G,)."""
        category = category.long()
        size = self._size[category][:, None]
        place = torch.arange(drawn)
        listed = self._strata.item[
            (self._first[category][:, None] + place).clamp(max=len(self.item_category) - 1)
        ]
        listed = listed.masked_fill(place >= size, PADDING)
        sampled = self._strata.draw(category, drawn, generator)
        whole = size <= drawn
        logq = torch.where(whole, 0.0, self._logq(sampled, category[:, None], drawn))
        return Drawn(torch.where(whole, listed, sampled).to(torch.int32), logq)

    def positive_logq(self, item: Tensor, drawn: int) -> Tensor:
        """(N,) float32 ``logq`` of items (N,) among ``drawn`` negatives of their own category."""
        category = self.item_category[item.long()]
        return torch.where(self._size[category] <= drawn, 0.0, self._logq(item.long(), category, drawn))

    def _logq(self, item: Tensor, category: Tensor, drawn: int) -> Tensor:
        return log_expected(self._strata.weight[item], self._strata.total[category], drawn)
