"""The training loader: epochs of shuffled batches from a pinned table, through Petastorm.

An epoch is a function of (table version, split, batching, seed, rank, world): whatever the reader pool, the
same epoch gives the same batches, bit for bit. Resuming in an epoch's middle therefore reads it again up
to the place without making the batches before it. What is read is checked against the Delta log at
every epoch's end.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
import torch

from training.batch import Batch
from training.batching import Batcher, Plan
from training.errors import ConfigError
from training.pools import PoolKind
from training.prefetch import Prefetch
from training.reading import read_epoch
from training.rows import expand
from training.seeds import seed_of
from training.sharding import equal_steps, shards
from training.shuffling import mixed
from training.splits import Split
from training.table import SequenceTable
from training.vocabulary import TrainVocabulary
from training.windows import WindowRule

_READING, _ORDER, _MIXING, _DRAWS = range(4)
"""What a seed is for: no two uses share a stream."""

PIECE_ROWS: Final = 1024
"""Gold rows that are expanded at once (our choice)."""


@dataclass(frozen=True)
class LoaderConfig:
    """How to read; none of it but seed, rank, world and open_row_groups changes a batch."""

    seed: int = 17
    rank: int = 0
    world: int = 1
    pool: PoolKind = "dummy"
    workers: int = 1  # of the thread pool
    open_row_groups: int = 4  # row groups mixed with each other, all in memory
    ahead: int = 8  # batches made ahead of training
    pin: bool = False  # in page-locked memory, for a GPU

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise ConfigError(f"rank {self.rank} is none of {self.world} ranks, which count from 0")
        for name in ("workers", "open_row_groups", "ahead"):
            if getattr(self, name) < 1:
                raise ConfigError(f"loader: {name} = {getattr(self, name)} must be at least 1")


class Loader:
    """Batches of a split's known targets, epoch after epoch; one pass is what is left of an epoch."""

    def __init__(
        self,
        table: SequenceTable,
        vocabulary: TrainVocabulary,
        split: Split,
        *,
        batches: Callable[[], Batcher],
        rule: WindowRule | None = None,
        config: LoaderConfig | None = None,
    ) -> None:
        self._table, self._vocabulary, self._split = table, vocabulary, split
        self._batches, self._rule, self._config = batches, rule or WindowRule(), config or LoaderConfig()
        self._shards = shards(table, self._config.world)
        self._shard = self._shards[self._config.rank]
        self._steps: int | None = None
        self._epoch = self._batch = 0
        self.wait_seconds = 0.0
        """Time in which whoever iterates was blocked, since the loader was made."""

    @property
    def epoch(self) -> int:
        """Number of the present epoch, from 0."""
        return self._epoch

    def __iter__(self) -> Iterator[Batch]:
        """The batches from the present place to the epoch's end, the same number on every rank.

        RowsLostError, at the end, where the rows read are not those of the Delta log.
        """
        if self._config.world > 1 and self._steps is None:
            self._steps = equal_steps(
                self._table,
                self._shards,
                self._batches(),
                vocabulary=self._vocabulary,
                split=self._split,
                rule=self._rule,
            )
        ahead = Prefetch(self._made, self._config.ahead)
        before = self.wait_seconds
        try:
            for batch in ahead:
                self.wait_seconds = before + ahead.wait_seconds
                self._batch += 1
                yield batch
        finally:
            ahead.close()
        self._epoch, self._batch = self._epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """The place after the last batch handed out, and what it is a place in."""
        return {"epoch": self._epoch, "batch": self._batch, "of": self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a place; ConfigError where it is one in other data, or under another seed or world."""
        if state["of"] != self._identity():
            changed = sorted(
                name for name, value in self._identity().items() if state["of"].get(name) != value
            )
            raise ConfigError(
                f"the loader's place belongs to another {', '.join(changed)}; "
                "resume with the settings of the run, or start a new one"
            )
        self._epoch, self._batch = state["epoch"], state["batch"]

    def _identity(self) -> dict[str, Any]:
        config, split = self._config, self._split
        return {
            "table version": self._table.version,
            "split": [split.start, split.end],
            "seed": config.seed,
            "rank": config.rank,
            "world": config.world,
            "open_row_groups": config.open_row_groups,
        }

    def _made(self) -> Iterator[Batch | None]:
        """Batches of this epoch from the present place on, made in the background; None for those before."""
        epoch, place = self._epoch, self._batch
        for number, plan in enumerate(self._epoch_plans(epoch)):
            if number < place:
                yield None
                continue
            batch = plan(torch.Generator().manual_seed(self._seed(_DRAWS, epoch, number)))
            yield batch.pin() if self._config.pin else batch

    def _epoch_plans(self, epoch: int) -> Iterator[Plan]:
        """The plans of an epoch, filled up from its beginning where other ranks have more."""
        made = 0
        for plan in self._plans(epoch):
            made += 1
            yield plan
        while self._steps is not None and made < self._steps:
            for plan in islice(self._plans(epoch), self._steps - made):
                made += 1
                yield plan

    def _plans(self, epoch: int) -> Iterator[Plan]:
        config, batcher = self._config, self._batches()
        order = torch.Generator().manual_seed(self._seed(_ORDER, epoch))
        seed = self._seed(_READING, epoch)
        blocks = read_epoch(self._shard.files, self._table.spec, seed, config.pool, config.workers)
        kept = (self._shard.keep(block) for block in blocks)
        mixing = np.random.default_rng(self._seed(_MIXING, epoch))
        for block in mixed(kept, PIECE_ROWS, config.open_row_groups, mixing):
            rows = expand(block, self._vocabulary, self._split, self._rule, known_only=True)
            yield from batcher.add(rows, order)
        yield from batcher.finish(order)

    def _seed(self, *use: int) -> int:
        return seed_of(self._config.seed, self._config.rank, *use)
