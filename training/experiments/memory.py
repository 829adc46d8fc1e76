"""Training batches from rows in memory: shuffled anew every epoch, the same for the same seed."""

from collections.abc import Iterator
from typing import Any, Final

from torch import Generator

from training.batch import Batch, Rows
from training.batching import Batcher, Plan
from training.seeds import seed_of

_PLANS: Final = 0  # the number of the generator that plans an epoch; batches count from 1


class MemoryLoader:
    """The batches that a batcher makes of all rows at once; satisfies ``training.fit.feed.Loader``.

    Its place is (epoch, batches handed out). A batch's draws depend on (seed, epoch, place) alone, so going
    back to a place gives the same batches.
    """

    def __init__(self, rows: dict[int, Rows], batcher: Batcher, seed: int) -> None:
        self.rows, self.batcher, self.seed = rows, batcher, seed
        self._epoch, self._given = 0, 0

    def __iter__(self) -> Iterator[Batch]:
        """What is left of the present epoch; the next call begins the next one."""
        plans = self._plans()
        while self._given < len(plans):
            self._given += 1
            yield plans[self._given - 1](self._generator(self._given))
        self._epoch, self._given = self._epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """The place after the last batch."""
        return {"epoch": self._epoch, "given": self._given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a place."""
        self._epoch, self._given = state["epoch"], state["given"]

    def _plans(self) -> list[Plan]:
        generator = self._generator(_PLANS)
        return [*self.batcher.add(self.rows, generator), *self.batcher.finish(generator)]

    def _generator(self, number: int) -> Generator:
        return Generator().manual_seed(seed_of(self.seed, self._epoch, number))
