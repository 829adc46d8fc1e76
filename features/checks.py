"""What must hold in every row of ``gold/user_sequences``, checked without looking at any kernel."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.codes import MODES, NO_POSITION, PADDING, UNKNOWN
from features.spec import EVENT_FIELDS, FamilySpec, SequenceSpec

RULES: Final[dict[str, str]] = {
    "bucket": "length_bucket is the smallest bucket that holds length, from 1 on",
    "shape": "every array is there, without nulls, with the number of elements that the spec declares",
    "mask_sum": "the number of places that are not padding equals length, in every events__ array",
    "left_padding": "padding lies on the left, in one piece",
    "ts_order": "events__ts does not decrease",
    "ordinal_order": "events__ordinal increases strictly",
    "session_order": "events__session does not decrease",
    "row_times": "first_ts and last_ts are the times of the first and the last event",
    "as_of": "no event lies at or after as_of",
    "codes": "codes lie between 1 and the size of their vocabulary",
    "strand_places": "strand positions point at events, not at padding or outside the row",
    "strand_alignment": "a strand's positions lie at its right end, strictly increasing",
    "strand_members": "every event of a strand carries the strand's key",
    "strand_keys": "keys are distinct, newest first, large enough, and 0 exactly where a strand is empty",
    "placed_dropped": "placed + dropped = length, in every strand family",
    "target_places": "targets__pos points at n_targets events, from the left, strictly increasing",
    "target_run": "a chunk's targets are consecutive events of the user",
    "target_reads": "each target reads up to an earlier event that is not later in time",
}
"""Rule -> what it says; the index of a rule is its bit in ``violations``."""

ROW_FACTS: Final = pa.schema(
    [
        ("user_id", pa.string()),
        ("chunk", pa.int32()),
        ("length", pa.int32()),
        ("n_targets", pa.int32()),
        ("first_target", pa.int32()),  # ordinal of the chunk's first target; null without targets
        ("last_target", pa.int32()),
        ("unknown_items", pa.int32()),  # places whose item has no index
        ("violations", pa.int64()),  # bit r is set where the r-th of RULES is broken
    ]
)

_PIECE_ELEMENTS: Final = 2_000_000
"""Rows are checked in pieces of about so many places, so that memory stays bounded."""

_KEY_FIELD: Final = {"session": "session", "theme": "theme_session", "category": "category", "mode": "mode"}

_BIT: Final = {rule: 1 << index for index, rule in enumerate(RULES)}

Arrays = dict[str, NDArray[np.int64]]
Flags = NDArray[np.bool_]


def check_rows(
    rows: pa.RecordBatch, spec: SequenceSpec, as_of: int, largest: Mapping[str, int]
) -> Iterator[pa.RecordBatch]:
    """One ``ROW_FACTS`` row for each row of ``gold/user_sequences``, in pieces, in any order.

    ``as_of`` is in µs; ``largest`` gives the largest code of ``item``, ``category`` and ``type``.
    """
    buckets = rows.column("length_bucket")
    for bucket in buckets.unique().to_pylist():
        same = pc.equal(buckets, bucket) if bucket is not None else pc.is_null(buckets)
        group = rows.filter(same)
        step = max(1, _PIECE_ELEMENTS // max(bucket or 1, 1))
        for start in range(0, group.num_rows, step):
            yield _check_piece(group.slice(start, step), bucket, spec, as_of, largest)


def _check_piece(
    rows: pa.RecordBatch, bucket: int | None, spec: SequenceSpec, as_of: int, largest: Mapping[str, int]
) -> pa.RecordBatch:
    """Check rows of one bucket; a row with a wrong shape is not looked into further."""
    broken = np.zeros(rows.num_rows, dtype=np.int64)
    first = np.full(rows.num_rows, -1, dtype=np.int64)
    last = first.copy()
    unknown = np.zeros(rows.num_rows, dtype=np.int64)
    length = _scalar(rows, "length")
    if bucket not in spec.buckets:
        broken |= _BIT["bucket"]
        sound = np.zeros(rows.num_rows, dtype=bool)
    else:
        smaller = max((size for size in spec.buckets if size < bucket), default=0)
        broken[(length <= smaller) | (length > bucket)] |= _BIT["bucket"]
        sound = _sound_shape(rows, bucket, spec)
        broken[~sound] |= _BIT["shape"]
    if sound.any():
        kept = rows if sound.all() else rows.filter(pa.array(sound))
        arrays = {name: _matrix(kept, name, len(sound.nonzero()[0])) for name in spec.array_columns()}
        facts = _check_arrays(kept, arrays, spec, as_of, largest)
        broken[sound] |= facts[0]
        first[sound], last[sound], unknown[sound] = facts[1:]
    columns = [
        rows.column("user_id").cast(pa.string()),
        rows.column("chunk").cast(pa.int32()),
        pa.array(length.astype(np.int32)),
        pa.array(_scalar(rows, "n_targets").astype(np.int32)),
        pa.array(first.astype(np.int32), mask=first < 0),
        pa.array(last.astype(np.int32), mask=last < 0),
        pa.array(unknown.astype(np.int32)),
        pa.array(broken),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=ROW_FACTS)


def _check_arrays(
    rows: pa.RecordBatch, arrays: Arrays, spec: SequenceSpec, as_of: int, largest: Mapping[str, int]
) -> tuple[NDArray[np.int64], ...]:
    """Violations, first and last target's ordinal (-1: none) and unknown items; each of shape (rows,)."""
    length = _scalar(rows, "length")
    count, size = arrays["events__item"].shape
    begin = size - length  # (rows,) position of the first event
    place = np.arange(size) >= begin[:, None]  # (rows, L)
    broken = np.zeros(count, dtype=np.int64)

    def mark(rule: str, wrong: NDArray[np.bool_]) -> None:
        broken[wrong] |= _BIT[rule]

    for name in EVENT_FIELDS:
        column = arrays[f"events__{name}"]
        if name == "ts":  # a time may be 0
            mark("left_padding", ((column != 0) & ~place).any(axis=1))
            continue
        filled = column != PADDING
        mark("mask_sum", filled.sum(axis=1) != length)
        mark("left_padding", (filled[:, :-1] & ~filled[:, 1:]).any(axis=1))
        mark("codes", (column < PADDING).any(axis=1))
    for name, limit in {**largest, "mode": len(MODES)}.items():
        mark("codes", (arrays[f"events__{name}"] > limit).any(axis=1))

    pairs = place[:, :-1]  # both of two neighbours are events
    ts, ordinal = arrays["events__ts"], arrays["events__ordinal"]
    mark("ts_order", ((np.diff(ts, axis=1) < 0) & pairs).any(axis=1))
    mark("ordinal_order", ((np.diff(ordinal, axis=1) <= 0) & pairs).any(axis=1))
    mark("session_order", ((np.diff(arrays["events__session"], axis=1) < 0) & pairs).any(axis=1))
    first_ts, last_ts = _microseconds(rows, "first_ts"), _microseconds(rows, "last_ts")
    earliest = np.take_along_axis(ts, np.clip(begin, 0, size - 1)[:, None], axis=1)[:, 0]
    mark("row_times", (first_ts // 1_000_000 != earliest) | (last_ts // 1_000_000 != ts[:, -1]))
    mark("as_of", (last_ts >= as_of) | ((ts * 1_000_000 >= as_of) & place).any(axis=1))

    for family in spec.families:
        for rule, wrong in _check_family(arrays, _scalar(rows, f"{family.name}__dropped"), family, length):
            mark(rule, wrong)
    position, read = arrays["targets__pos"], arrays["targets__read_pos"]
    for rule, wrong in _check_targets(arrays, _scalar(rows, "n_targets"), begin):
        mark(rule, wrong)
    own = np.take_along_axis(ordinal, np.clip(position, 0, size - 1), axis=1)
    real = (position >= 0) & (read >= NO_POSITION)
    any_target = real.any(axis=1)
    first = np.where(any_target, np.where(real, own, np.iinfo(np.int64).max).min(axis=1), -1)
    last = np.where(real, own, -1).max(axis=1)
    return broken, first, last, ((arrays["events__item"] == UNKNOWN) & place).sum(axis=1)


def _check_family(
    arrays: Arrays, dropped: NDArray[np.int64], family: FamilySpec, length: NDArray[np.int64]
) -> Iterator[tuple[str, Flags]]:
    """Broken rules of one strand family; positions are (rows, S, C), keys (rows, S)."""
    key = arrays[f"{family.name}__key"]
    size = arrays["events__item"].shape[1]
    pos = arrays[f"{family.name}__pos"].reshape(len(key), family.strands, -1)
    real = pos != NO_POSITION
    yield "strand_places", (real & ((pos < (size - length)[:, None, None]) | (pos >= size))).any(axis=(1, 2))
    pairs = real[..., :-1] & real[..., 1:]
    uneven = (real[..., :-1] & ~real[..., 1:]) | (pairs & (np.diff(pos, axis=2) <= 0))
    yield "strand_alignment", uneven.any(axis=(1, 2))

    if family.name == "recent":
        member = np.ones_like(pos)
    else:
        member = np.take_along_axis(
            arrays[f"events__{_KEY_FIELD[family.name]}"],
            np.clip(pos, 0, size - 1).reshape(len(key), -1),
            axis=1,
        ).reshape(pos.shape)
    yield "strand_members", (real & (member != key[..., None])).any(axis=(1, 2))

    used = key != PADDING
    newest = pos[..., -1]
    ordered = np.sort(key, axis=1)
    wrong = (used != real.any(axis=2)) | (used & (key < family.min_key))
    wrong[:, 1:] |= (used[:, 1:] & ~used[:, :-1]) | (used[:, 1:] & (newest[:, 1:] >= newest[:, :-1]))
    wrong[:, 1:] |= (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != PADDING)
    yield "strand_keys", wrong.any(axis=1)
    yield "placed_dropped", (real.sum(axis=(1, 2)) + dropped != length) | (dropped < 0)


def _check_targets(
    arrays: Arrays, n_targets: NDArray[np.int64], begin: NDArray[np.int64]
) -> Iterator[tuple[str, Flags]]:
    """Broken rules of the targets; positions are (rows, P)."""
    position, read = arrays["targets__pos"], arrays["targets__read_pos"]
    ts, ordinal = arrays["events__ts"], arrays["events__ordinal"]
    size = ts.shape[1]
    real = position != NO_POSITION
    pairs = real[:, :-1] & real[:, 1:]
    wrong = real & ((position < begin[:, None]) | (position >= size))
    wrong[:, 1:] |= (real[:, 1:] & ~real[:, :-1]) | (pairs & (np.diff(position, axis=1) <= 0))
    yield "target_places", wrong.any(axis=1) | (real.sum(axis=1) != n_targets)

    at, seen = np.clip(position, 0, size - 1), np.clip(read, 0, size - 1)
    own = np.take_along_axis(ordinal, at, axis=1)
    yield "target_run", (pairs & (np.diff(own, axis=1) != 1)).any(axis=1)

    later = np.take_along_axis(ts, seen, axis=1) > np.take_along_axis(ts, at, axis=1)
    wrong = real & ((read < begin[:, None]) | (read >= position) | later)
    wrong |= ~real & (read != NO_POSITION)
    wrong[:, 1:] |= pairs & (np.diff(read, axis=1) < 0)
    yield "target_reads", wrong.any(axis=1)


def _sound_shape(rows: pa.RecordBatch, bucket: int, spec: SequenceSpec) -> Flags:
    """Which rows have every array in its declared size and every number, without nulls; (rows,)."""
    sound = np.ones(rows.num_rows, dtype=bool)
    for name in spec.array_columns():
        column = rows.column(name)
        sizes = pc.fill_null(pc.list_value_length(column), -1).to_numpy(zero_copy_only=False)
        sound &= sizes == np.prod(spec.shape(name, bucket))
        if column.flatten().null_count:
            nulls = pc.list_parent_indices(column).filter(pc.is_null(column.flatten()))
            sound[nulls.to_numpy(zero_copy_only=False)] = False
    scalars = ["user_id", "chunk", "length", "n_targets", "first_ts", "last_ts"]
    for name in [*scalars, *(f"{family.name}__dropped" for family in spec.families)]:
        sound &= rows.column(name).is_valid().to_numpy(zero_copy_only=False)
    return sound


def _matrix(rows: pa.RecordBatch, name: str, count: int) -> NDArray[np.int64]:
    values = rows.column(name).flatten().to_numpy(zero_copy_only=False)
    matrix: NDArray[np.int64] = values.reshape(count, -1)
    return matrix


def _scalar(rows: pa.RecordBatch, name: str) -> NDArray[np.int64]:
    column = pc.fill_null(rows.column(name).cast(pa.int64()), -1)
    values: NDArray[np.int64] = column.to_numpy(zero_copy_only=False)
    return values


def _microseconds(rows: pa.RecordBatch, name: str) -> NDArray[np.int64]:
    column = rows.column(name)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", tz=column.type.tz))
    values: NDArray[np.int64] = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return values
