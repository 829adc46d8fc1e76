"""Batches without end, and how long training waited for them."""

import time
from collections.abc import Generator, Iterator
from typing import Any, Protocol, Self

from training.batch import Batch
from training.errors import DataError


class Loader(Protocol):
    """What the loop needs of a loader. One pass over ``iter`` is what is left of an epoch."""

    def __iter__(self) -> Iterator[Batch]:
        """The batches from the present place to the epoch's end."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """The place after the last batch that was handed out; tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a place."""
        ...


class Feed:
    """Batches of epoch after epoch."""

    def __init__(self, loader: Loader) -> None:
        self._batches = _endless(loader)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._batches.close()  # ends the loader's threads

    def take(self, count: int) -> tuple[list[Batch], float]:
        """The next ``count`` batches, and the seconds that getting them blocked."""
        began = time.perf_counter()
        taken = [next(self._batches) for _ in range(count)]
        return taken, time.perf_counter() - began


def _endless(loader: Loader) -> Generator[Batch]:
    empty = 0  # a pass resumed at an epoch's very end is empty, two in a row are not
    while empty < 2:
        empty += 1
        for batch in loader:
            empty = 0
            yield batch
    raise DataError("the training window holds no target; widen [data] or lower data.min_count")
