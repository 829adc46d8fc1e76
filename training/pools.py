"""Petastorm's worker pools with every row group delivered, in the order in which it was asked for.

Petastorm 0.13.1's thread and process pools look whether all work is done before they look whether all work
was handed out; what is handed out in between is lost without an error (for the thread pool, in a third
of epochs over 16 row groups). Here the end counts only if, after everything was handed out, nothing is
left. With several workers, results also arrive in any order; put back into the order of asking, an epoch
can be repeated, and so resumed in its middle. Petastorm's reader offers no such choice.
"""

import warnings
from collections import deque
from time import sleep
from typing import Any, Final, Literal, get_args

import pyarrow as pa
from petastorm.arrow_reader_worker import ArrowReaderWorker
from petastorm.reader_impl.arrow_table_serializer import ArrowTableSerializer
from petastorm.workers_pool import EmptyResultError
from petastorm.workers_pool.dummy_pool import DummyPool
from petastorm.workers_pool.process_pool import ProcessPool
from petastorm.workers_pool.thread_pool import ThreadPool

PoolKind = Literal["dummy", "thread", "process"]
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


class _InOrder:
    """Pool mixin: results in the order of asking, for one epoch over row groups that all hold rows."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._asked: deque[int] = deque()
        self._ready: dict[int, pa.Table] = {}

    def ventilate(self, *args: Any, **kwargs: Any) -> None:
        """Ask for a row group."""
        self._asked.append(kwargs["piece_index"])
        super().ventilate(*args, **kwargs)  # type: ignore[misc]

    def get_results(self) -> pa.Table:
        """The row group that was asked for next; EmptyResultError once all were handed on."""
        while not self._asked or self._asked[0] not in self._ready:
            try:
                table = super().get_results()  # type: ignore[misc]
            except EmptyResultError:
                if self._settled():
                    raise
                continue
            self._ready[int(table.schema.metadata[PIECE])] = table
        return self._ready.pop(self._asked.popleft())

    def _settled(self) -> bool:
        """Whether nothing is under way; decisive once everything was handed out."""
        raise NotImplementedError


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


class _ThreadPool(_InOrder, ThreadPool):  # type: ignore[misc]
    def _settled(self) -> bool:
        return bool(self.all_workers_done())


class _ProcessPool(_InOrder, ProcessPool):  # type: ignore[misc]
    def _settled(self) -> bool:
        return bool(self._ventilated_items == self._ventilated_items_processed)


def make_pool(kind: PoolKind, workers: int) -> Any:
    """A pool of that kind; ``dummy`` reads in the caller's thread and has no workers."""
    if kind == "dummy":
        return _InlinePool()
    if kind == "thread":
        return _ThreadPool(workers)
    if kind == "process":
        return _ProcessPool(workers, ArrowTableSerializer())
    raise ValueError(f"reader pool {kind!r} is unknown; known: {', '.join(POOLS)}")
