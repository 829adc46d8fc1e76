"""seqloom's way: Spark reads, moves packed columns and commits; the order and the sessions are NumPy's.

With a third argument, ``sessions``, one row a session instead (user_id, start in seconds, n_events).
"""

import sys
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from benchmarks.engines.session import read_events, spark_session
from features.sessions import SessionRule, session_ordinals
from pipelines.packed import exchange, unpacked

LAST, EVENTS_PER_PARTITION, ROWS_OUT = 1_024, 2_500_000, 4_096
RULE = SessionRule("gap", gap_us=1_800_000_000, max_us=2**62)
OUT = (
    "user_id long, n_events long, session array<int>, item array<int>, category array<int>, "
    "type array<tinyint>, ts array<bigint>"
)
LISTS = ("item", "category", "type", "ts")


def in_order(events: dict[str, np.ndarray], ties: bool = True) -> np.ndarray:
    """Places of the events by user, ts, type and item: one sort of user and ts together, then the ties."""
    _, user = np.unique(events["user_id"], return_inverse=True)
    ts = events["ts"] - events["ts"].min()
    key = user * (int(ts.max()) + 1) + ts
    order = np.argsort(key)
    tied = np.flatnonzero(key[order[1:]] == key[order[:-1]])
    if ties and len(tied):
        at = np.union1d(tied, tied + 1)
        own = order[at]
        order[at] = own[np.lexsort((events["item"][own], events["type"][own], key[own]))]
    return order


def users(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Rows of one partition, whose users are its own."""
    table = unpacked(batches)
    if table is None:
        return
    events = {name: table.column(name).to_numpy() for name in ("user_id", *LISTS)}
    del table
    order = in_order(events)
    user, ts = events["user_id"][order], events["ts"][order]
    begins = np.append(True, user[1:] != user[:-1])
    session = session_ordinals(ts, begins, RULE)
    first = np.flatnonzero(begins)
    lengths = np.diff(first, append=len(user))
    kept = np.minimum(lengths, LAST)
    offsets = np.append(0, np.cumsum(kept))
    chosen = np.repeat(first + lengths - kept - offsets[:-1], kept) + np.arange(offsets[-1])
    values = [session[chosen], *(events[name][order[chosen]] for name in LISTS)]
    lists = [pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(one)) for one in values]
    names = ["user_id", "n_events", "session", *LISTS]
    rows = pa.record_batch([pa.array(user[first]), pa.array(lengths), *lists], names)
    for start in range(0, rows.num_rows, ROWS_OUT):
        yield rows.slice(start, ROWS_OUT)


def sessions(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One row a session of one partition."""
    table = unpacked(batches)
    if table is None:
        return
    user, ts = (table.column(name).to_numpy() for name in ("user_id", "ts"))
    order = in_order({"user_id": user, "ts": ts}, ties=False)
    user, ts = user[order], ts[order]
    begins = np.append(True, user[1:] != user[:-1])
    number = session_ordinals(ts, begins, RULE)
    first = np.flatnonzero(begins | np.append(True, number[1:] != number[:-1]))
    columns = [user[first], ts[first] // 1_000_000, np.diff(first, append=len(user))]
    yield pa.record_batch([pa.array(column) for column in columns], ["user_id", "start", "n_events"])


source, out, *only = sys.argv[1:]
spark = spark_session("seqloom", source)
events = read_events(spark, source)
count = spark.read.parquet(source).count()  # of the footers alone
partitions = max(2, -(-count // EVENTS_PER_PARTITION))


def partition_of(chunk: pa.Table, of: int = partitions) -> np.ndarray:
    spread = chunk.column("user_id").to_numpy().astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return ((spread >> np.uint64(33)) % np.uint64(of)).astype(np.int64)


moved = exchange(events.select("user_id", "ts") if only else events, partitions, partition_of)
if only:
    rows = moved.mapInArrow(sessions, "user_id long, start long, n_events long")
else:
    rows = moved.mapInArrow(users, OUT)
rows.write.format("delta").save(out)
