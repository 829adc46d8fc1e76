"""Petastorm's worker pools with every row group delivered, in the order in which it was asked for.

Petastorm 0.13.1's thread pool looks whether all work is done before it looks whether all work was handed
out; what is handed out in between is lost without an error (in a third of epochs over 16 row groups).
Here the end counts only if, after everything was handed out, nothing is left. With several workers, results
also arrive in any order; put back into the order of asking, an epoch can be repeated, and so resumed in its
middle.

Petastorm's process pool is not offered: it starts its processes anew for every epoch, which took 3 to 10
seconds and, on a busy machine, more than the 20 that Petastorm waits before it fails; and reading Parquet
releases the interpreter, so that threads were faster on every table tried.
"""

import warnings
from collections import deque
from time import sleep
from typing import Any, Final, Literal, get_args

import pyarrow as pa
from petastorm.arrow_reader_worker import ArrowReaderWorker
from petastorm.workers_pool import EmptyResultError
from petastorm.workers_pool.dummy_pool import DummyPool
from petastorm.workers_pool.thread_pool import ThreadPool

PoolKind = Literal["dummy", "thread"]
POOLS: Final[tuple[PoolKind, ...]] = get_args(PoolKind)

PIECE: Final = b"seqloom.row_group"
"""Schema metadata that says which row group a table is."""

_POLL_SECONDS: Final = 0.001

# Petastorm reads by pyarrow interfaces that pyarrow 14 calls deprecated, three warnings a row group.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"petastorm\.")


class TableQueue:
    """Hands the worker's Arrow table on as it is, where Petastorm would stack its lists one by one."""

    batched_output = True

    def read_next(self, pool: Any, _schema: Any, _ngram: Any) -> pa.Table:
        """The next row group; StopIteration at the end."""
        try:
            return pool.get_results()
        except EmptyResultError:
            raise StopIteration from None


class TableWorker(ArrowReaderWorker):  # type: ignore[misc]  # petastorm has no types
    """Petastorm's reading worker; its tables say which row group they are."""

    @staticmethod
    def new_results_queue_reader() -> TableQueue:
        """How the reader takes results from the pool."""
        return TableQueue()

    def process(self, piece_index: int, *args: Any, **kwargs: Any) -> None:
        """Read one row group."""
        self._piece_index = piece_index
        super().process(piece_index, *args, **kwargs)

    def _load_rows(self, *args: Any, **kwargs: Any) -> pa.Table:
        table = super()._load_rows(*args, **kwargs)
        return table.replace_schema_metadata({PIECE: str(self._piece_index)})


class _InlinePool(DummyPool):  # type: ignore[misc]
    """Reads when asked, in the caller's thread; does not wait a tenth of a second for the first row group."""

    def get_results(self) -> pa.Table:
        """The next row group; EmptyResultError at the end."""
        while True:
            all_asked = self._ventilator.completed()
            if self._ventilator_queue:
                args, kwargs = self._ventilator_queue.pop(0)
                self._worker.process(*args, **kwargs)
                self._ventilator.processed_item()
                if self._results_queue:
                    return self._results_queue.pop(0)
            elif all_asked:
                raise EmptyResultError
            else:
                sleep(_POLL_SECONDS)


class _ThreadPool(ThreadPool):  # type: ignore[misc]
    """Reads in threads, for one epoch over row groups that all hold rows; results in the order of asking."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self._asked: deque[int] = deque()
        self._ready: dict[int, pa.Table] = {}

    def ventilate(self, *args: Any, **kwargs: Any) -> None:
        """Ask for a row group."""
        self._asked.append(kwargs["piece_index"])
        super().ventilate(*args, **kwargs)

    def get_results(self) -> pa.Table:
        """The row group that was asked for next; EmptyResultError once all were handed on."""
        while not self._asked or self._asked[0] not in self._ready:
            try:
                table = super().get_results()
            except EmptyResultError:
                if self.all_workers_done():  # decisive now that everything was handed out
                    raise
                continue
            self._ready[int(table.schema.metadata[PIECE])] = table
        return self._ready.pop(self._asked.popleft())


def make_pool(kind: PoolKind, workers: int) -> Any:
    """A pool of that kind; ``dummy`` reads in the caller's thread and has no workers."""
    if kind == "dummy":
        return _InlinePool()
    if kind == "thread":
        return _ThreadPool(workers)
    raise ValueError(f"reader pool {kind!r} is unknown; known: {', '.join(POOLS)}")
