"""Whole users by Arrow blobs, for the benchmark only: no job of seqloom moves its events this way.

It shows what Spark could do if it moved packed columns: order and sessions are NumPy's in its tasks, and
Spark writes and commits. With a third argument, ``sessions``, one row a session instead (user_id, start in
seconds, n_events).
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.engines.last_events import SESSIONS, USERS, session_rows, user_rows
from benchmarks.engines.packed import NAMES, unpacked, whole_users
from benchmarks.engines.session import spark_session
from pipelines.workers import in_workers


def in_order(events: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Events by user, ts, type and item: one sort of user and ts together, then the ties."""
    _, user = np.unique(events["user_id"], return_inverse=True)
    ts = events["ts"] - events["ts"].min()
    key = user * (int(ts.max()) + 1) + ts
    order = np.argsort(key)
    tied = np.flatnonzero(key[order[1:]] == key[order[:-1]])
    if "item" in events and len(tied):
        at = np.union1d(tied, tied + 1)
        own = order[at]
        order[at] = own[np.lexsort((events["item"][own], events["type"][own], key[own]))]
    return {name: values[order] for name, values in events.items()}


def users(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Rows of one partition, whose users are its own."""
    events = unpacked(batches)
    return iter(()) if events is None else user_rows(in_order(events))


def sessions(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One row a session of one partition."""
    events = unpacked(batches)
    return iter(()) if events is None else session_rows(in_order(events))


source, out, *only = sys.argv[1:]
spark = spark_session("seqloom packed", source)
if only:
    rows = in_workers(whole_users(spark, Path(source), ["user_id", "ts"]), sessions, SESSIONS)
else:
    rows = in_workers(whole_users(spark, Path(source), list(NAMES)), users, USERS)
rows.write.format("delta").save(out)
spark.stop()
