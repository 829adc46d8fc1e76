"""Negatives: items that a target is compared with, drawn with known chances.

``logq`` is always the log of the expected number of times that an item is drawn, which the sampled softmax
subtracts from its score (Bengio and Senécal 2008; TRAINING.md). Draws come from a seeded generator on the
CPU, so that a resumed run draws what it would have drawn.
"""

from dataclasses import replace
from typing import Final, Literal, get_args

import torch
from torch import Generator, Tensor

from training.batch import Rows, Samples, Shared
from training.strata import POWER, Strata, log_expected, weights

Kind = Literal["uniform", "popularity", "category"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


class SharedNegatives:
    """K draws a batch by count ** power, with replacement, shared by all its targets."""

    def __init__(self, count: Tensor, drawn: int = 512, power: float = POWER) -> None:
        """``count`` (V,) holds the items' numbers of training events; ValueError where none was seen."""
        self._strata = Strata(weights(count, power), torch.zeros(len(count), dtype=torch.int64))
        if drawn < 1 or not int(self._strata.total):
            raise ValueError("negatives need at least one draw and one item that was seen in training")
        self._drawn = drawn
        self._logq = log_expected(self._strata.weight, self._strata.total, drawn)  # (V,)

    def draw(self, rows: Rows, generator: Generator) -> Shared:
        """Negatives for the targets of ``rows``; the ``logq`` of an item that is never drawn is 0."""
        item = self._strata.draw(torch.zeros(1, dtype=torch.int64), self._drawn, generator)[0]
        return Shared(item.to(torch.int32), self._logq[item], self._logq[rows.item.long()])


class Candidates:
    """C negatives for each sample, with replacement; the target itself is excluded exactly.

    ``uniform`` over the items seen in training, by ``popularity`` (count ** 0.75), or so within the
    target's ``category`` (the item's, not the event's). For training a ranker, with new ones every epoch;
    evaluations draw their own (``training.evaluate``), the same for every model.
    """

    def __init__(self, kind: Kind, count: Tensor, item_category: Tensor, drawn: int) -> None:
        """``count`` (V,) and ``item_category`` (V,) are those of the vocabulary."""
        if kind not in KINDS:
            raise ValueError(f"negatives {kind!r} are unknown; known: {', '.join(KINDS)}")
        self._drawn, self._category = drawn, item_category.to(torch.int32)
        stratum = item_category.long() if kind == "category" else torch.zeros(len(count), dtype=torch.int64)
        self._strata = Strata(weights(count, 0.0 if kind == "uniform" else POWER), stratum)

    def draw(self, samples: Samples, generator: Generator) -> Samples:
        """The samples with 1 + C candidates. ``cand_logq`` is the log of the expected count in C draws from
        the stratum, the target included, so that column 0 compares with the others.

        A target that is alone in its stratum has padding (code 0) for negatives.
        """
        item = samples.item.long()
        found = torch.cat([item[:, None], self._strata.others(item, self._drawn, generator)], dim=1)
        total = self._strata.total[self._strata.stratum[item]][:, None]
        return replace(
            samples,
            cand_item=found.to(torch.int32),
            cand_category=self._category[found],
            cand_logq=log_expected(self._strata.weight[found], total, self._drawn),
        )
