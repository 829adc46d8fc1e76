"""Rows of ``gold/user_sequences``: pools of events laid out under the tensor contract.

Which events a row holds is decided in ``features.pool``; here they are padded to their bucket, the
targets and the strands at the row's end are found, and the result becomes Arrow batches.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.codes import NO_POSITION, PADDING
from features.history import Events
from features.spec import EVENT_FIELDS, SequenceSpec
from features.strands import RowTags, ramp, strands

Ints = NDArray[np.int64]
PADDED_EVENTS = 1 << 18
"""Most places of one batch, padding included: bounds the memory of its strands (our choice)."""
MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Pools:
    """R rows to lay out; a row's targets are the last ``targets`` of its events."""

    user: Ints  # (R,) index of the user
    chunk: Ints  # (R,) from 0
    targets: Ints  # (R,)
    length: Ints  # (R,) at least 1
    source: Ints  # (sum of length,) events in order, row after row


def arrow_schema(spec: SequenceSpec) -> pa.Schema:
    """Columns of ``gold/user_sequences``; every array is flat and, within a bucket, of one length."""
    scalars = [("user_id", pa.string()), ("chunk", pa.int32()), ("length", pa.int32())]
    arrays = [(name, pa.list_(pa.type_for_alias(dtype))) for name, dtype in spec.array_columns().items()]
    dropped = [(f"{family.name}__dropped", pa.int32()) for family in spec.families]
    when = pa.timestamp("us", tz="UTC")
    rest = [
        ("n_targets", pa.int32()),
        ("length_bucket", pa.int32()),
        ("first_ts", when),
        ("last_ts", when),
    ]
    return pa.schema([*scalars, *arrays, *dropped, *rest])


def build_rows(
    events: Events, pools: Pools, user_ids: list[str], spec: SequenceSpec
) -> Iterator[pa.RecordBatch]:
    """Batches of rows, each of one bucket, buckets ascending and rows in the order given.

    One batch is in memory at a time: a history of ever new keys needs
    some 100 places an event. A row depends on its own events only. ValueError where a pool exceeds
    ``spec.pool``.
    """
    if len(pools.length) == 0:
        return
    if pools.length.max() > spec.pool:
        raise ValueError(f"a pool of {pools.length.max()} events exceeds pool = {spec.pool}")
    bucket = np.asarray(spec.buckets)[np.searchsorted(spec.buckets, pools.length)]
    starts = np.cumsum(pools.length) - pools.length
    names = pa.array(user_ids, pa.string())
    for size, rows in _groups(bucket):
        length = pools.length[rows]
        source = pools.source[np.repeat(starts[rows], length) + ramp(length)]
        part = Pools(pools.user[rows], pools.chunk[rows], pools.targets[rows], length, source)
        yield _batch(events.take(source), part, names.take(pa.array(part.user)), size, spec)


def _groups(bucket: Ints) -> Iterator[tuple[int, Ints]]:
    """Rows of one bucket, as many as ``PADDED_EVENTS`` allows, in order."""
    for size in np.unique(bucket).tolist():
        rows = np.flatnonzero(bucket == size)
        step = max(1, PADDED_EVENTS // size)
        for start in range(0, len(rows), step):
            yield size, rows[start : start + step]


def _batch(
    events: Events, pools: Pools, user_id: pa.Array, bucket: int, spec: SequenceSpec
) -> pa.RecordBatch:
    """Rows of one bucket; ``events`` are those of the pools, row after row."""
    length, rows = pools.length, len(pools.length)
    last = np.cumsum(length) - 1
    first = last - length + 1
    place = np.repeat(np.arange(rows) * bucket + bucket - length, length) + ramp(length)

    closing = events.session == np.repeat(events.session[last], length)
    as_of_end = np.where(closing, np.repeat(events.theme_running[last], length), events.theme_session)
    padded = {}
    for name, dtype in EVENT_FIELDS.items():
        values = as_of_end if name == "theme_session" else getattr(events, name)
        column = np.full(rows * bucket, PADDING, dtype)
        column[place] = values // MICROSECONDS if name == "ts" else values
        padded[name] = column.reshape(rows, bucket)
    tags = RowTags(
        **{name: padded[name] for name in ("session", "category", "mode", "theme_session", "theme_running")}
    )
    found = strands(tags, None, np.full(rows, bucket), spec)

    arrays: dict[str, NDArray[np.int32] | NDArray[np.int64]] = {
        f"events__{name}": column for name, column in padded.items()
    }
    arrays["targets__pos"], arrays["targets__read_pos"] = _targets(events.ts, pools, bucket, spec)
    columns: dict[str, pa.Array] = {"user_id": user_id}
    for name, (pos, key) in found.items():
        arrays[f"{name}__pos"], arrays[f"{name}__key"] = pos, key
        columns[f"{name}__dropped"] = length - (pos >= 0).sum(axis=(1, 2))
    columns |= {name: _lists(column) for name, column in arrays.items()}
    columns |= {
        "chunk": pools.chunk,
        "length": length,
        "n_targets": pools.targets,
        "length_bucket": np.full(rows, bucket),
        "first_ts": events.ts[first],
        "last_ts": events.ts[last],
    }
    schema = arrow_schema(spec)
    return pa.record_batch(
        [pa.array(columns[field.name]).cast(field.type) for field in schema], schema=schema
    )


def _targets(
    ts: NDArray[np.int64], pools: Pools, bucket: int, spec: SequenceSpec
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Places of the targets and of the last event strictly before each; both (rows, targets)."""
    length, count = pools.length, pools.targets
    last = np.cumsum(length) - 1
    begins = np.ones(len(ts), dtype=bool)
    begins[1:] = ts[1:] != ts[:-1]
    # A run may reach over from the row before, but no target is in it: each has an earlier event in its row.
    tied = np.maximum.accumulate(np.where(begins, np.arange(len(ts)), 0))

    pos, read_pos = (
        np.full((len(length), min(spec.targets, bucket)), NO_POSITION, np.int32) for _ in range(2)
    )
    row, step = np.repeat(np.arange(len(length)), count), ramp(count)
    event = np.repeat(last - count + 1, count) + step
    to_place = bucket - 1 - last[row]
    pos[row, step] = event + to_place
    read_pos[row, step] = tied[event] - 1 + to_place
    return pos, read_pos


def _lists(values: NDArray[np.int32] | NDArray[np.int64]) -> pa.ListArray:
    """One flat list a row, without copying."""
    width = values.size // len(values)
    offsets = np.arange(len(values) + 1, dtype=np.int32) * np.int32(width)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.reshape(-1)))
