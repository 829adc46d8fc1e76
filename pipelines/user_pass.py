"""Lifts the per-user kernels of ``features/`` over Spark: one fold a partition, no shuffle.

Input everywhere: encoded events whose partitions hold whole users, sorted by user and order
(``pipelines.encode.order_by_user``), each user's stored state in front of them where there is one
(``pipelines.increment``).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyspark.core.broadcast import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from features.chunks import arrow_schema, chunk_block
from features.resume import states_behind, steps, together
from features.sessions import SessionRule, session_ids
from features.spec import SequenceSpec
from features.tags import FittedThemes, tag_block
from features.tags import sessions_arrow_schema as sessions_schema
from features.user_state import STATES
from features.users import UserRows, UserRule, reasons, summarise_users
from pipelines.workers import in_workers

Batches = Iterable[pa.RecordBatch]


@dataclass(frozen=True)
class UserPass:
    """The rules and the fit that a pass over users applies; ``fitted`` is broadcast once."""

    rule: SessionRule
    users: UserRule
    fitted: Broadcast[FittedThemes]

    def tables(self, ordered: DataFrame, spec: SequenceSpec) -> DataFrame:
        """Nullable columns ``session``, ``user``, ``state`` and ``sequences``: each row is one of them.

        They are rows of ``silver/sessions``, ``silver/users``, ``silver/user_state`` and
        ``gold/user_sequences``, of one pass, whose costly parts they have in common: structs, but the last,
        of 200 bytes an event, are Arrow streams of many rows (``sequences_of`` reads them).
        """

        def fold(batches: Batches) -> Batches:
            for name, batch in self._rows(batches, spec):
                if batch.num_rows:
                    yield _side(name, _packed(batch) if name == "sequences" else batch.to_struct_array())

        return in_workers(ordered, fold, from_arrow_schema(_MADE))

    def _rows(self, batches: Batches, spec: SequenceSpec) -> Iterator[tuple[str, pa.RecordBatch]]:
        themes, flags, chunks, known = None, None, None, None
        fitted = self.fitted.value
        for step in steps(batches, self.rule):
            block = step.block
            tags, sessions, themes = tag_block(block, fitted, together(themes, step.tags))
            yield "session", sessions.to_batch(pa.array(session_ids(block)))
            users, flags = summarise_users(together(flags, step.flags), block, self.users)
            yield "user", _user_batch(users)
            running, final = tags.theme_running, tags.theme_session
            rows, chunks = chunk_block(block, running, final, spec, together(chunks, step.open))
            for batch in rows:
                yield "sequences", batch
            states, known = states_behind(step, known, fitted, self.users, spec)
            for batch in states:
                yield "state", batch


USERS = pa.schema(
    [
        ("user_id", pa.string()),
        ("n_events", pa.int32()),
        ("n_sessions", pa.int32()),
        ("first_ts", pa.timestamp("us", tz="UTC")),
        ("last_ts", pa.timestamp("us", tz="UTC")),
        ("is_heavy", pa.bool_()),
        ("is_bot", pa.bool_()),
        ("flags", pa.list_(pa.string())),
    ]
)
"""Columns of ``silver/users``."""


_MADE = pa.schema(
    [
        ("session", pa.struct(list(sessions_schema()))),
        ("user", pa.struct(list(USERS))),
        ("state", pa.struct(list(STATES))),
        ("sequences", pa.binary()),
    ]
)


def sequences_of(made: DataFrame, spec: SequenceSpec) -> DataFrame:
    """Rows of ``gold/user_sequences`` that a pass made.

    Spark would keep each of their values as a row does, and compress and read all of it with each table.
    """

    def unpack(batches: Batches) -> Batches:
        for batch in batches:
            for stream in batch.column(0):
                yield from pa.ipc.open_stream(stream.as_buffer())

    streams = made.where(F.col("sequences").isNotNull()).select("sequences")
    return in_workers(streams, unpack, from_arrow_schema(arrow_schema(spec)))


def _packed(batch: pa.RecordBatch) -> pa.Array:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as stream:
        stream.write_batch(batch)
    return pa.array([sink.getvalue().to_pybytes()], pa.binary())


def _user_batch(users: UserRows) -> pa.RecordBatch:
    instant = USERS.field("first_ts").type
    columns = [
        pa.array(users.user_ids, pa.string()),
        pa.array(users.n_events),
        pa.array(users.n_sessions),
        pa.array(users.first_ts).cast(instant),
        pa.array(users.last_ts).cast(instant),
        pa.array(users.is_heavy),
        pa.array(users.is_bot),
        pa.array([reasons(reason) for reason in users.reason.tolist()], pa.list_(pa.string())),
    ]
    return pa.record_batch(columns, schema=USERS)


def _side(name: str, values: pa.Array) -> pa.RecordBatch:
    """Rows with values in one column of ``_MADE``, the others null."""
    columns = [values if field.name == name else pa.nulls(len(values), field.type) for field in _MADE]
    return pa.record_batch(columns, schema=_MADE)
