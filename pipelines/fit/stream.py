"""Events as the fit's kernels read them: narrow integers, in whole sessions, with hashes to sample by.

The fit reads them half a dozen times. They are kept as the bytes of NumPy arrays, a row for each batch of
events: Spark would turn every value of every row into Arrow again each time, 7 s of two cores at 20 M events.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from features.block import ENCODED_EVENTS
from features.sessions import SessionRule, SessionState, sessionize_batch
from pipelines.workers import in_workers

Columns = dict[str, NDArray[Any]]
"""Arrays of equal length by column name."""

BUCKETS: Final = 65_536
"""Hash space is cut into this many equal buckets; a sample is made of whole buckets."""


HELD_OUT_EVERY: Final = 4
"""One user in four, by hash, teaches the vectors nothing: the hop null is drawn from these users."""


@dataclass(frozen=True)
class Sessions:
    """S whole sessions of N events in order; users are known by their hash."""

    starts: NDArray[np.int64]  # (S,), first event of each
    lengths: NDArray[np.int64]  # (S,)
    user: NDArray[np.uint64]  # (S,), hash of the user id
    ordinal: NDArray[np.int32]  # (S,)
    key: NDArray[np.uint64]  # (S,), hash of user id and first event's id: the sampling order
    item: NDArray[np.int32]  # (N,)
    category: NDArray[np.int32]  # (N,)
    type: NDArray[np.int32]  # (N,)

    @property
    def bucket(self) -> NDArray[np.int64]:
        """Hash bucket of each session; (S,), 0 to BUCKETS - 1."""
        return bucket_of(self.key)

    def take(self, chosen: NDArray[np.bool_]) -> "Sessions":
        """The chosen (S,) sessions with their events."""
        events = np.repeat(chosen, self.lengths)
        lengths = self.lengths[chosen]
        return Sessions(
            starts=np.cumsum(lengths) - lengths,
            lengths=lengths,
            user=self.user[chosen],
            ordinal=self.ordinal[chosen],
            key=self.key[chosen],
            item=self.item[events],
            category=self.category[events],
            type=self.type[events],
        )


NARROW: Final[dict[str, np.dtype[Any]]] = {
    "user": np.dtype("<u8"),  # hash of the user id
    "event": np.dtype("<u8"),  # hash of user and event id
    "session": np.dtype("<i4"),
    "item": np.dtype("<i4"),
    "category": np.dtype("<i4"),
    "type": np.dtype("<i4"),
}
"""What the kernels read of an event: 32 bytes."""


def narrow_events(ordered: DataFrame, rule: SessionRule, train_end: int | None) -> DataFrame:
    """Events before ``train_end`` (µs, None: all), cut into sessions: a binary column for each of ``NARROW``.

    ``ordered`` has ``ENCODED_EVENTS`` of whole users, sorted by user and order; partitions and order stay. A
    row holds the arrays of as many events as Spark hands on at once. ``user`` and ``event`` are 64-bit hashes
    of ids: the order in which sessions are sampled never depends on files, partitions or cores.
    """

    def pack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        state: SessionState | None = None
        for batch in batches:
            if batch.num_rows:
                piece, state = sessionize_batch(state, batch, rule)
                yield packed(
                    {
                        "user": batch.column("user").to_numpy(),
                        "event": batch.column("event").to_numpy(),
                        **{name: getattr(piece, name) for name in ("session", "item", "category", "type")},
                    }
                )

    seen = ordered if train_end is None else ordered.where(F.col("ts") < train_end)
    hashed = seen.select(
        *ENCODED_EVENTS.names,
        F.xxhash64("user_id").alias("user"),
        F.xxhash64("user_id", "event_id").alias("event"),
    )
    return in_workers(hashed, pack, ", ".join(f"{name} binary" for name in NARROW))


def packed(columns: Columns) -> pa.RecordBatch:
    """One row: the bytes of each column of ``NARROW``."""
    cells = [pa.array([columns[name].astype(kind).tobytes()]) for name, kind in NARROW.items()]
    return pa.record_batch(cells, names=list(NARROW))


def unpacked(batches: Iterable[pa.RecordBatch]) -> Iterator[Columns]:
    """The columns of each row that ``packed`` made, views of its bytes."""
    for batch in batches:
        for row in range(batch.num_rows):
            cells = {name: batch.column(name)[row].as_buffer() for name in NARROW}
            yield {name: np.frombuffer(cell, NARROW[name]) for name, cell in cells.items()}


def whole_sessions(batches: Iterable[pa.RecordBatch]) -> Iterator[Sessions]:
    """Whole sessions of narrow events, whose rows may cut them anywhere.

    Memory is one batch and the largest session.
    """
    for part in whole_runs(unpacked(batches), ("user", "session")):
        starts = run_starts(part, ("user", "session"))
        yield Sessions(
            starts=starts,
            lengths=np.diff(starts, append=len(part["item"])),
            user=part["user"][starts],
            ordinal=part["session"][starts],
            key=part["event"][starts],
            item=part["item"],
            category=part["category"],
            type=part["type"],
        )


def whole_runs(parts: Iterable[Columns], keys: Sequence[str]) -> Iterator[Columns]:
    """Rows regrouped so that no run of equal ``keys`` is cut."""
    held: list[Columns] = []  # the last run so far, perhaps over several parts
    for part in parts:
        if not len(part[keys[0]]):
            continue
        starts = run_starts(part, keys)
        goes_on = held and all(held[-1][key][-1] == part[key][0] for key in keys)
        if goes_on and len(starts) == 1:
            held.append(part)
            continue
        if cut := int(starts[-1]):
            held.append({name: column[:cut] for name, column in part.items()})
        if held:
            yield _join(held)
        held = [{name: column[cut:] for name, column in part.items()}]
    if held:
        yield _join(held)


def columns_of(batches: Iterable[pa.RecordBatch]) -> Iterator[Columns]:
    """Batches of numbers without nulls."""
    for batch in batches:
        yield {name: batch.column(name).to_numpy() for name in batch.schema.names}


def run_starts(part: Columns, keys: Sequence[str]) -> NDArray[np.int64]:
    """First rows of the runs of equal ``keys``; (runs,), ascending."""
    begins = np.zeros(len(part[keys[0]]), dtype=bool)
    begins[:1] = True
    for key in keys:
        begins[1:] |= part[key][1:] != part[key][:-1]
    return np.flatnonzero(begins)


def bucket_of(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Bucket of each 64-bit hash, its upper 16 bits."""
    return (hashes >> np.uint64(48)).astype(np.int64)


def held_out(user: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether users, known by their xxhash64, are kept from the vectors (see ``hop_null`` for why).

    A hash of the id alone: the same users in every fit, for any files, partitions and cores.
    """
    return np.asarray(user % np.uint64(HELD_OUT_EVERY) == 0)


def held_out_user(user_id: str) -> Column:
    """``held_out`` of the user ids in this column, where Spark is to say so."""
    return F.xxhash64(user_id).bitwiseAND(HELD_OUT_EVERY - 1) == 0


def bucket_limit(histogram: NDArray[np.int64], most: int) -> int:
    """How many leading buckets hold at most ``most`` elements in all; ``histogram`` is (BUCKETS,).

    >>> bucket_limit(np.array([3, 4, 5]), 7)
    2
    """
    return int(np.searchsorted(np.cumsum(histogram), most, side="right"))


def _join(parts: list[Columns]) -> Columns:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
