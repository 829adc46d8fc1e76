"""Frequencies of everything named before ``train_end``, and how sessions spread over hash buckets."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from features.codes import FIRST_INDEX
from pipelines.fit.stream import BUCKETS, whole_sessions
from pipelines.fit.tally import Tally, pack, unpack
from pipelines.workers import in_workers

ITEM, TYPE, SESSION, LONG_SESSION = range(4)
COUNTS_SCHEMA: Final = pa.schema(
    [("what", pa.int32()), ("left", pa.int32()), ("right", pa.int32()), ("n", pa.int64())]
)


@dataclass(frozen=True)
class Frequencies:
    """How often each index occurs; indices ascend, those that never occur are left out."""

    index: NDArray[np.int32]
    count: NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """What one pass over the events before ``train_end`` counts."""

    items: Frequencies
    item_category: NDArray[np.int32]  # of each item, its most frequent category (ties: lowest index)
    categories: Frequencies
    types: Frequencies
    sessions: NDArray[np.int64]  # (BUCKETS,) sessions by hash bucket
    long_sessions: NDArray[np.int64]  # (BUCKETS,) those that themes are fitted on

    @property
    def events(self) -> int:
        """Number of events."""
        return int(self.items.count.sum())


def count_events(narrow: DataFrame, min_session_events: int) -> Counts:
    """One pass over narrow events; what reaches the driver grows with items, not with events."""

    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _count_kernel(batches, min_session_events)

    partial = in_workers(narrow, kernel, "what int, left int, right int, n long")
    table = partial.groupBy("what", "left", "right").agg(F.sum("n").alias("n")).toArrow()
    what, left, right, n = (table.column(name).to_numpy() for name in COUNTS_SCHEMA.names)
    items = _sorted_rows(what == ITEM, left, right, n)
    item, item_category, item_count = _main_category(*items)
    types = _sorted_rows(what == TYPE, left, right, n)
    return Counts(
        items=Frequencies(item, item_count),
        item_category=item_category,
        categories=_sum_by(items[1], items[2]),
        types=Frequencies(types[0], types[2]),
        sessions=_histogram(what == SESSION, left, n),
        long_sessions=_histogram(what == LONG_SESSION, left, n),
    )


def _count_kernel(batches: Iterable[pa.RecordBatch], min_session_events: int) -> Iterator[pa.RecordBatch]:
    tallies = [Tally() for _ in (ITEM, TYPE, SESSION, LONG_SESSION)]
    for sessions in whole_sessions(batches):
        tallies[ITEM].add(pack(sessions.item, sessions.category))
        tallies[TYPE].add(pack(sessions.type, np.zeros_like(sessions.type)))
        tallies[SESSION].add(sessions.bucket << np.int64(32))
        long = sessions.lengths >= min_session_events
        tallies[LONG_SESSION].add(sessions.bucket[long] << np.int64(32))
        if tallies[ITEM].full:
            yield _counts_batch(ITEM, tallies[ITEM])
    for what, tally in enumerate(tallies):
        yield _counts_batch(what, tally)


def _counts_batch(what: int, tally: Tally) -> pa.RecordBatch:
    keys, n = tally.drain()
    left, right = unpack(keys)
    columns = [np.full(len(n), what, dtype=np.int32), left, right, n]
    return pa.record_batch([pa.array(column) for column in columns], schema=COUNTS_SCHEMA)


def _sorted_rows(
    chosen: NDArray[np.bool_], left: NDArray[np.int32], right: NDArray[np.int32], n: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    order = np.flatnonzero(chosen)
    order = order[np.lexsort((right[order], left[order]))]
    return left[order], right[order], n[order]


def _main_category(
    item: NDArray[np.int32], category: NDArray[np.int32], n: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Distinct items, the category that most of their events have, a known one where any, and counts."""
    totals = _sum_by(item, n)
    order = np.lexsort((category, -n, category < FIRST_INDEX, item))
    first = np.flatnonzero(np.diff(item[order], prepend=-1))
    return totals.index, category[order][first], totals.count


def _sum_by(index: NDArray[np.int32], n: NDArray[np.int64]) -> Frequencies:
    distinct, place = np.unique(index, return_inverse=True)
    sums = np.zeros(len(distinct), dtype=np.int64)
    np.add.at(sums, place, n)
    return Frequencies(distinct.astype(np.int32), sums)


def _histogram(
    chosen: NDArray[np.bool_], bucket: NDArray[np.int32], n: NDArray[np.int64]
) -> NDArray[np.int64]:
    histogram = np.zeros(BUCKETS, dtype=np.int64)
    np.add.at(histogram, bucket[chosen], n[chosen])
    return histogram
