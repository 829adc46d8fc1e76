"""The task's result from whole users' events in order, by the product's session kernel."""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.sessions import SessionRule, session_ordinals

LAST, ROWS_OUT = 1_024, 4_096
RULE = SessionRule("gap", gap_us=1_800_000_000, max_us=2**62)
LISTS = ("item", "category", "type", "ts")
USERS = (
    "user_id long, n_events long, session array<int>, item array<int>, category array<int>, "
    "type array<tinyint>, ts array<bigint>"
)
SESSIONS = "user_id long, start long, n_events long"


def user_rows(events: Mapping[str, NDArray[np.int64]]) -> Iterator[pa.RecordBatch]:
    """Rows of ``USERS``, one a user."""
    user, ts = events["user_id"], events["ts"]
    begins = np.append(True, user[1:] != user[:-1])
    session = session_ordinals(ts, begins, RULE)
    first = np.flatnonzero(begins)
    lengths = np.diff(first, append=len(user))
    kept = np.minimum(lengths, LAST)
    offsets = np.append(0, np.cumsum(kept))
    chosen = np.repeat(first + lengths - kept - offsets[:-1], kept) + np.arange(offsets[-1])
    values = [session[chosen], *(events[name][chosen] for name in LISTS)]
    lists = [pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(one)) for one in values]
    names = ["user_id", "n_events", "session", *LISTS]
    rows = pa.record_batch([pa.array(user[first]), pa.array(lengths), *lists], names)
    for start in range(0, rows.num_rows, ROWS_OUT):
        yield rows.slice(start, ROWS_OUT)


def session_rows(events: Mapping[str, NDArray[np.int64]]) -> Iterator[pa.RecordBatch]:
    """Rows of ``SESSIONS``, one a session."""
    user, ts = events["user_id"], events["ts"]
    begins = np.append(True, user[1:] != user[:-1])
    number = session_ordinals(ts, begins, RULE)
    first = np.flatnonzero(begins | np.append(True, number[1:] != number[:-1]))
    columns = [user[first], ts[first] // 1_000_000, np.diff(first, append=len(user))]
    yield pa.record_batch([pa.array(column) for column in columns], ["user_id", "start", "n_events"])
