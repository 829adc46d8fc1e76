"""From a stream of training rows to batches: pools of rows, permuted, cut, and filled in when asked for.

A batcher turns rows into *plans*: a plan knows which rows and samples a batch holds, and becomes a batch
when called with the batch's own generator. So a loader that resumes walks over plans that it does not
need for the price of reading, and draws for every batch what an uninterrupted run would have drawn.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Generator, Tensor

from training.batch import Batch, Rows, Samples, all_targets
from training.negatives import Candidates, SharedNegatives
from training.rows import concat, take

Plan = Callable[[Generator], Batch]


@dataclass(frozen=True)
class Counts:
    """What one rank reads in an epoch."""

    rows: dict[int, int]  # training rows by padded length
    targets: int


class Batcher(Protocol):
    """Turns the rows of one epoch into plans; ``generator`` decides what is drawn together."""

    def add(self, rows: dict[int, Rows], generator: Generator) -> Iterator[Plan]:
        """Take rows by padded length; plans as soon as there is a pool of rows to draw them from."""
        ...

    def finish(self, generator: Generator) -> Iterator[Plan]:
        """Plans of all that is left; the batcher is empty afterwards."""
        ...

    def most_steps(self, counts: Counts) -> int:
        """An upper bound of the plans of an epoch with these counts, tight enough to fill up to."""
        ...


@dataclass(frozen=True)
class Asked:
    """What a batch of rows is asked: all its targets or some, perhaps with candidates, shared negatives."""

    shared: SharedNegatives | None = None
    candidates: Candidates | None = None
    per_row: int = 0  # targets of a row that become samples, drawn at random; 0: all

    def __call__(self, rows: Rows, generator: Generator) -> Batch:
        """The batch of these rows."""
        samples = some_targets(rows, self.per_row, generator) if self.per_row else all_targets(rows)
        if self.candidates is not None:
            samples = self.candidates.draw(samples, generator)
        shared = None if self.shared is None else self.shared.draw(rows, generator)
        return Batch(rows, samples, shared)


def some_targets(rows: Rows, most: int, generator: Generator) -> Samples:
    """At most ``most`` targets of each row, every subset of that size as likely, in row and place order."""
    chance = torch.rand(rows.loss_mask.shape, generator=generator).masked_fill(~rows.loss_mask, -1.0)
    best = chance.topk(min(most, chance.shape[1]), dim=1).indices
    drawn = torch.zeros_like(rows.loss_mask).scatter(1, best, value=True) & rows.loss_mask
    return all_targets(replace(rows, loss_mask=drawn))


class TokenBatches:
    """Batches of rows of one padded length, about ``tokens`` places each, drawn from pools of rows."""

    def __init__(self, tokens: int, pool_rows: int, asked: Asked) -> None:
        self._tokens, self._pool_rows, self._asked = tokens, pool_rows, asked
        self._held: dict[int, list[Rows]] = {}
        self._count = 0

    def add(self, rows: dict[int, Rows], generator: Generator) -> Iterator[Plan]:
        """Plans for full batches once the pool is full; rows that fill none wait for the next pool."""
        for length, part in rows.items():
            self._held.setdefault(length, []).append(part)
            self._count += len(part.length)
        if self._count >= self._pool_rows:
            yield from self._plans(generator, whole=True)

    def finish(self, generator: Generator) -> Iterator[Plan]:
        """Plans for the rest, the last batch of each length smaller."""
        yield from self._plans(generator, whole=False)

    def most_steps(self, counts: Counts) -> int:
        """Exactly the batches of an epoch."""
        return sum(-(-rows // self._size(length)) for length, rows in counts.rows.items())

    def _size(self, length: int) -> int:
        return max(1, self._tokens // length)

    def _plans(self, generator: Generator, *, whole: bool) -> Iterator[Plan]:
        plans: list[Plan] = []
        for length in sorted(self._held):
            rows, size = concat(self._held.pop(length)), self._size(length)
            order = torch.randperm(len(rows.length), generator=generator)
            used = len(order) - len(order) % size if whole else len(order)
            plans += [self._plan(rows, index) for index in torch.split(order[:used], size) if len(index)]
            if used < len(order):
                self._held[length] = [take(rows, order[used:])]
        self._count = sum(len(part.length) for parts in self._held.values() for part in parts)
        for at in torch.randperm(len(plans), generator=generator).tolist():
            yield plans[at]

    def _plan(self, rows: Rows, index: Tensor) -> Plan:
        return lambda generator: self._asked(take(rows, index), generator)
