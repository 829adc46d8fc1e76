"""seqloom's way: Spark moves packed columns, writes and commits; order and sessions are NumPy's in its tasks.

With a third argument, ``sessions``, one row a session instead (user_id, start in seconds, n_events).
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.engines.packed import NAMES, unpacked, whole_users
from benchmarks.engines.session import spark_session
from features.sessions import SessionRule, session_ordinals

LAST, ROWS_OUT = 1_024, 4_096
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
    events = unpacked(batches)
    if events is None:
        return
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
    events = unpacked(batches)
    if events is None:
        return
    order = in_order(events, ties=False)
    user, ts = events["user_id"][order], events["ts"][order]
    begins = np.append(True, user[1:] != user[:-1])
    number = session_ordinals(ts, begins, RULE)
    first = np.flatnonzero(begins | np.append(True, number[1:] != number[:-1]))
    columns = [user[first], ts[first] // 1_000_000, np.diff(first, append=len(user))]
    yield pa.record_batch([pa.array(column) for column in columns], ["user_id", "start", "n_events"])


source, out, *only = sys.argv[1:]
spark = spark_session("seqloom", source)
if only:
    moved = whole_users(spark, Path(source), ["user_id", "ts"])
    rows = moved.mapInArrow(sessions, "user_id long, start long, n_events long")
else:
    rows = whole_users(spark, Path(source), list(NAMES)).mapInArrow(users, OUT)
rows.write.format("delta").save(out)
