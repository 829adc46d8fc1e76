"""seqloom's own path: read by Spark, whole users in order as a build has them, the product's session kernel.

``order_by_user`` and ``partition_count`` are those of a build, and so is what Spark shuffles, but for ids as
strings and their encoding, which the task has not. A task holds a partition's events at once. With a third
argument, ``sessions``, one row a session instead (user_id, start in seconds, n_events).
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import pyarrow as pa
from pyspark.sql import functions as F

from benchmarks.engines.last_events import LISTS, SESSIONS, USERS, session_rows, user_rows
from benchmarks.engines.session import read_events, spark_session
from pipelines.config.model import SparkSettings
from pipelines.encode import order_by_user, partition_count
from pipelines.workers import batches_by_rows, in_workers

ITEM_BITS = 32


def whole(
    batches: Iterable[pa.RecordBatch], rows: Callable[..., Iterator[pa.RecordBatch]]
) -> Iterator[pa.RecordBatch]:
    """Rows of one partition."""
    parts = list(batches)
    if parts:
        events = pa.Table.from_batches(parts)
        yield from rows({name: events.column(name).to_numpy() for name in events.column_names})


source, out, *only = sys.argv[1:]
spark = spark_session("seqloom", source)
events = read_events(spark, source)
# The task breaks ties by type, then item, which here are the source's `sequence`.
sequence = F.shiftleft(F.col("type").cast("long"), ITEM_BITS) + F.col("item")
events = events.withColumns(
    {"sequence": sequence, "mode": F.lit(0), "event_id": F.lit(""), "session_key": F.lit(None).cast("string")}
)
cores = spark.sparkContext.defaultParallelism
ordered = order_by_user(events, partition_count(events.count(), SparkSettings(), cores))
if only:
    rows = in_workers(ordered.select("user_id", "ts"), partial(whole, rows=session_rows), SESSIONS)
else:
    rows = in_workers(ordered.select("user_id", *LISTS), partial(whole, rows=user_rows), USERS)
with batches_by_rows(spark):
    rows.write.format("delta").save(out)
spark.stop()
