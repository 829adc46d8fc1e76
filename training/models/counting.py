"""What the counting controls share: sparse counts that live in a module, and the model interface."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from features.codes import FIRST_INDEX
from training.batch import Batch, Rows, Samples, all_targets
from training.model import Loss


class Entries(NamedTuple):
    """Entries of some rows of a sparse matrix, M in all."""

    asked: Tensor  # (M,) int64, which of the rows that were asked for
    column: Tensor  # (M,) int64
    value: Tensor  # (M,) float64


class FittedBuffers(nn.Module):
    """A module some of whose buffers are as long as a fit made them: they load with the saved length."""

    fitted: ClassVar[tuple[str, ...]]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in self.fitted:
            saved = state_dict.get(prefix + name)
            if saved is not None:
                setattr(self, name, getattr(self, name).new_empty(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class SparseCounts(FittedBuffers):
    """A sparse matrix of counts as sorted keys ``row * columns + column``."""

    fitted = ("key", "value")

    key: Tensor  # (entries,) int64 ascending
    value: Tensor  # (entries,) float64

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = columns
        self.register_buffer("key", torch.empty(0, dtype=torch.int64))
        self.register_buffer("value", torch.empty(0, dtype=torch.float64))

    def replace(self, row: Tensor, column: Tensor, weight: Tensor) -> Self:
        """Hold the sums of ``weight`` (M,) by ``row`` and ``column`` (M,) instead of what was held."""
        key = row.long() * self.columns + column.long()
        self.key, index = torch.unique(key, return_inverse=True)
        value = torch.zeros(len(self.key), dtype=torch.float64, device=self.key.device)
        self.value = value.index_add(0, index, weight.double())
        return self

    def rows(self, row: Tensor) -> Entries:
        """Entries of each of ``row`` (N,) int64."""
        edges = torch.stack([row, row + 1]) * self.columns
        start, end = torch.searchsorted(self.key, edges)
        size = end - start
        asked = torch.repeat_interleave(torch.arange(len(row), device=row.device), size)
        at = torch.arange(len(asked), device=row.device) - (size.cumsum(0) - size)[asked] + start[asked]
        return Entries(asked, self.key[at] % self.columns, self.value[at])

    def at(self, row: Tensor, column: Tensor) -> Tensor:
        """(N, C) float64 counts at ``row`` (N,) and ``column`` (N, C)."""
        if len(self.key) == 0:
            return torch.zeros(column.shape, dtype=torch.float64, device=column.device)
        key = row[:, None] * self.columns + column.long()
        found = torch.searchsorted(self.key, key).clamp(max=len(self.key) - 1)
        return self.value[found] * (self.key[found] == key)


class CountModel(nn.Module, ABC):
    """A next-item model made by counting, in one pass over the training targets.

    It has no parameters: ``training_loss`` is a figure to compare, not something to minimise. Scores
    are natural logs of probabilities that sum to 1 over the trained items.
    """

    def __init__(self, items: int) -> None:
        super().__init__()
        if items <= FIRST_INDEX:
            raise ValueError(f"a vocabulary of {items} codes holds no trained item")
        self.items = items

    @abstractmethod
    def fit(self, batches: Iterable[Batch]) -> Self:
        """Count the training targets of one epoch, instead of what was counted before."""

    @abstractmethod
    def score_catalogue(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, V) float32 scores; codes 0 and 1 get -inf."""

    @abstractmethod
    def score_candidates(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, 1 + C) float32 scores of ``samples.cand_item``."""

    def training_loss(self, batch: Batch) -> Loss:
        """Mean negative log-likelihood of the batch's targets that are trained items; no gradient."""
        samples = all_targets(batch.rows)
        known = samples.item >= FIRST_INDEX
        samples = samples.map(lambda tensor: tensor[known])
        asked = replace(samples, cand_item=samples.item[:, None])
        total = -self.score_candidates(batch.rows, asked).mean()
        return Loss(total, {"nll": total.detach()})


def candidates_of(samples: Samples) -> Tensor:
    """(N, 1 + C) int64 candidates; ValueError where the samples have none."""
    if samples.cand_item is None:
        raise ValueError("the samples have no candidates; draw them first (training.evaluate.candidates)")
    return samples.cand_item.long()


def last_items(rows: Rows, samples: Samples) -> Tensor:
    """(N,) int64 item of each sample's last visible event; 0 where nothing is visible."""
    place = (samples.end.long() - 1).clamp(min=0)
    return rows.item[samples.row, place].long() * (samples.end > 0)
