"""The streaming job: batches follow one another until it is stopped, or all that is there was read."""

import fcntl
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamWriter

from pipelines.errors import LockedError, SourceError
from pipelines.lock import local_folder
from pipelines.progress import Progress
from pipelines.spark import require_kafka, start_spark
from pipelines.streaming.arrivals import open_stream
from pipelines.streaming.batches import Batches
from pipelines.streaming.request import CHECKPOINTS, StreamRequest, read_stream_config
from pipelines.warehouse import Warehouse, require_writable

POLL_SECONDS: Final = 1

_SOURCE_FAULTS: Final = {
    "UnknownTopicOrPartition": "the topic is missing; make it, or pass another with --topic",
    "Timed out waiting for a node assignment": "no broker answers; check --kafka BOOTSTRAP",
    "Failed to create new KafkaAdminClient": "no broker answers; check --kafka BOOTSTRAP",
    "TimeoutException": "the broker stopped answering; start again when it is back",
    "Some data may have been lost": "records went before they were read (retention, or a topic made anew); "
    "to go on with what is there, remove this stream's folder under ops/_stream",
}
"""What Spark's words for a fault of Kafka mean to a person."""


def stream(request: StreamRequest) -> Mapping[str, Any]:
    """Run the job until it is stopped (SIGTERM, SIGINT) or, with ``once``, has read what is there.

    Returns the summary. Raises SeqloomError with the exit status of what went wrong: what was published
    stays, and the next start goes on behind it.
    """
    config = read_stream_config(request)
    require_writable(config.warehouse)
    name = request.name(config)
    progress = Progress()
    origin = f"topic {request.topic} at {request.kafka}" if request.kafka else config.source.path
    progress.say(f"stream {name}: {origin} -> {config.warehouse}")
    checkpoint = f"{config.warehouse}/{CHECKPOINTS}/{name}"
    with _only_one(checkpoint, name):
        with progress.stage("start Spark"):
            spark = start_spark("seqloom stream", config.spark.settings)
        if request.kafka:
            require_kafka(spark)
        source, read = open_stream(spark, request, config)
        warehouse = Warehouse(spark, config.warehouse)
        batches = Batches(warehouse, config, read, name=name, clock=request.clock, progress=progress)
        writer = source.writeStream.option("checkpointLocation", checkpoint).foreachBatch(batches.handle)
        with _stopped_by_signals(batches):
            _follow(_triggered(writer, request).start(), batches, origin)
    return batches.summary()


def _triggered(writer: DataStreamWriter, request: StreamRequest) -> DataStreamWriter:
    if request.once:
        return writer.trigger(availableNow=True)
    return writer.trigger(processingTime=f"{request.trigger_milliseconds()} milliseconds")


def _follow(query: StreamingQuery, batches: Batches, origin: str) -> None:
    """Wait for the query's end, or end it between two batches; raises what made it fail."""
    batches.begin(query.id)
    try:
        while not query.awaitTermination(POLL_SECONDS):
            if batches.stopping.is_set():
                batches.progress.say("stopping after this batch")
                with batches.working:
                    pass  # a batch that waits for it is turned away then, so that the query can end
                query.stop()
                break
    except (PySparkException, Py4JError, OSError) as error:
        if batches.stopping.is_set():
            if batches.failure is not None:  # the signal went to the whole group, and ended Spark as well
                batches.progress.say("Spark ended with a batch at work: the next start takes it in again")
        elif batches.failure is not None:
            raise batches.failure from None
        else:
            raise _named(error, origin) from None


def _named(error: Exception, origin: str) -> Exception:
    """SourceError for what is Kafka's fault; else the error itself."""
    text = str(error)
    for sign, meaning in _SOURCE_FAULTS.items():
        if sign in text:
            return SourceError(f"{origin}: {meaning}")
    return error


@contextmanager
def _stopped_by_signals(batches: Batches) -> Iterator[None]:
    """SIGTERM and SIGINT ask for a stop while the block runs; only the main thread may hear them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(_signal: int, _frame: FrameType | None) -> None:
        batches.stopping.set()

    before = {which: signal.signal(which, ask) for which in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


@contextmanager
def _only_one(checkpoint: str, name: str) -> Iterator[None]:
    """LockedError where another process reads this stream; the system frees the lock with its process."""
    folder = local_folder(checkpoint)
    if folder is None:
        yield
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = Path(f"{folder}.reader")
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(
                f"{path}: another process reads stream {name} already; leave it to it, or end it first"
            ) from None
        yield
