"""What Spark calls for each batch of a stream, and the sum of what they brought."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from pipelines.config import Config
from pipelines.ingest import IngestResult
from pipelines.ingest.files import reading
from pipelines.pointer import published
from pipelines.positions import batch_id
from pipelines.progress import Progress
from pipelines.run_context import Run
from pipelines.streaming.arrivals import Reader
from pipelines.streaming.delays import Delays, arrival_quantiles
from pipelines.streaming.micro_batch import is_published, take_in
from pipelines.turns import hold_lock_for_batch
from pipelines.warehouse import Warehouse


class Stopped(Exception):  # noqa: N818
    """The stream was asked to stop; the batch was not begun."""


class Batches:
    """Takes in one batch after another.

    ``working`` is held while a batch is taken in; ``stopping`` lets no further one begin; ``failure`` is what
    a batch raised, since Spark hands on its text alone.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        config: Config,
        read: Reader,
        *,
        name: str,
        clock: Callable[[], datetime],
        progress: Progress,
    ) -> None:
        self.progress = progress
        self.stopping = threading.Event()
        self.working = threading.Lock()
        self.failure: BaseException | None = None
        self._warehouse = warehouse
        self._config = config
        self._name = name
        self._read = read
        self._clock = clock
        self._stream = ""
        self._begun = threading.Event()
        self._sums: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._delays = Delays()

    def begin(self, query_id: str) -> None:
        """Let batches in; the query's id lies in its checkpoint, and numbers batches with it."""
        self._stream = f"{self._name}-{query_id[:8]}"
        self._begun.set()

    def handle(self, batch: DataFrame, number: int) -> None:
        """Take in batch ``number``, unless it was before; what ``foreachBatch`` calls."""
        self._begun.wait()
        with self.working:
            try:
                self._require_going()
                self._take(batch, number)
            except BaseException as error:
                self.failure = None if isinstance(error, Stopped) else error
                raise

    def summary(self) -> Mapping[str, Any]:
        """The job's last line: what this process took in."""
        sums = {name: self._sums[name] for name in ("batches", "events_in", "events_kept", "duplicates")}
        delay = {name: self._delays.quantile(share) for name, share in (("p50", 0.5), ("p99", 0.99))}
        return {"stream": self._stream, **sums, "rejected": dict(self._rejected), "delay_seconds": delay}

    def _require_going(self) -> None:
        if self.stopping.is_set():
            raise Stopped

    def _take(self, batch: DataFrame, number: int) -> None:
        root = self._config.warehouse
        if is_published(root, self._stream, number):
            self.progress.say(f"batch {number}: published before, left alone")
            return
        with reading(self._config.source.path):
            rows = self._read(batch)
            if rows is None:
                return
            rows = rows.persist(StorageLevel.MEMORY_AND_DISK)
            count, arrived = rows.agg(F.count("*"), arrival_quantiles()).head(1)[0]
        try:
            if not count:
                return
            run_id = batch_id(self._stream, number)
            with hold_lock_for_batch(root, run_id, self.progress, self._require_going) as lock:
                warehouse = replace(self._warehouse, run_id=run_id)
                pointer, now = published(root), self._clock()
                run = Run(warehouse, self._config, run_id, now, pointer, self.progress)
                result = take_in(run, rows, self._stream, number, lock)
            delays = Delays()
            delays.add(arrived, count, datetime.now(UTC))
            self._count(number, result, delays)
        finally:
            rows.unpersist()

    def _count(self, number: int, result: IngestResult, delays: Delays) -> None:
        refused = sum(result.rejected.values())
        self.progress.say(
            f"batch {number}: {result.events_in:,} rows in = {result.kept:,} kept + "
            f"{result.duplicates:,} duplicates + {refused:,} rejected · {delays.to_text()}"
        )
        found = {"events_in": result.events_in, "events_kept": result.kept, "duplicates": result.duplicates}
        self._sums.update(found | {"batches": 1})
        self._rejected.update(result.rejected)
        self._delays.merge(delays)
