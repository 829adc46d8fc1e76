"""A bounded, hash-ordered sample of session interests, and what each theme's sessions hold."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from features.codes import FIRST_INDEX, NO_THEME
from features.themes import nearest_theme, session_sums
from features.vectors import VectorTable, unit
from pipelines.fit.options import ThemeOptions
from pipelines.fit.stream import Sessions, whole_sessions
from pipelines.fit.tally import Tally, pack, unpack
from pipelines.workers import in_workers

ITEMS, CATEGORIES = range(2)
SESSION_SUMS = "key long, sum array<double>"
THEME_COUNTS = "what int, theme int, index int, n long"


@dataclass(frozen=True)
class ThemeCounts:
    """Events of sampled sessions by theme and index, sorted by theme, then index."""

    theme: NDArray[np.int32]
    index: NDArray[np.int32]
    n: NDArray[np.int64]


def sample_interests(
    narrow: DataFrame, table: VectorTable, limit: int, options: ThemeOptions
) -> NDArray[np.float64]:
    """Interests (n, D), unit rows in hash order, of long enough sessions of the first hash buckets."""
    shared = narrow.sparkSession.sparkContext.broadcast(table)
    least = options.min_session_events

    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for whole in whole_sessions(batches):
            sessions = whole.take((whole.bucket < limit) & (whole.lengths >= least))
            sums = _sums(sessions, shared.value)
            has = sums.any(axis=1)
            key = pa.array(sessions.key[has].astype(np.int64))
            offsets = pa.array(np.arange(has.sum() + 1, dtype=np.int32) * sums.shape[1])
            lists = pa.ListArray.from_arrays(offsets, pa.array(sums[has].reshape(-1)))
            yield pa.record_batch([key, lists], names=["key", "sum"])

    rows = in_workers(narrow, kernel, SESSION_SUMS).toArrow()
    key = rows.column("key").to_numpy().astype(np.uint64)
    sums = np.asarray(rows.column("sum").combine_chunks().flatten()).reshape(len(key), table.dim)
    return unit(sums[np.lexsort((*sums.T[::-1], key))])


def count_by_theme(
    narrow: DataFrame,
    table: VectorTable,
    centroids: NDArray[np.float64],
    theme_ids: NDArray[np.int32],
    limit: int,
    *,
    options: ThemeOptions,
) -> tuple[ThemeCounts, ThemeCounts]:
    """Events by theme and item, and by theme and category, of the sessions that were sampled."""
    shared = narrow.sparkSession.sparkContext.broadcast((table, centroids, theme_ids))
    least = options.min_session_events

    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        vectors, middles, ids = shared.value
        tallies = [Tally(), Tally()]
        for whole in whole_sessions(batches):
            sessions = whole.take((whole.bucket < limit) & (whole.lengths >= least))
            theme = np.repeat(nearest_theme(_sums(sessions, vectors), middles, ids), sessions.lengths)
            for tally, index in zip(tallies, (sessions.item, sessions.category), strict=True):
                tally.add(pack(theme, index)[(theme != NO_THEME) & (index >= FIRST_INDEX)])
                if tally.full:
                    yield _theme_batch(tallies.index(tally), tally)
        for what, tally in enumerate(tallies):
            yield _theme_batch(what, tally)

    partial = in_workers(narrow, kernel, THEME_COUNTS)
    rows = partial.groupBy("what", "theme", "index").agg(F.sum("n").alias("n")).toArrow()
    what, theme, index, n = (rows.column(name).to_numpy() for name in ("what", "theme", "index", "n"))
    order = np.lexsort((index, theme))
    items, categories = order[what[order] == ITEMS], order[what[order] == CATEGORIES]
    return (
        ThemeCounts(theme[items], index[items], n[items]),
        ThemeCounts(theme[categories], index[categories], n[categories]),
    )


def _sums(sessions: Sessions, table: VectorTable) -> NDArray[np.float64]:
    rows, _ = table.lookup(sessions.item, sessions.category)
    return session_sums(table.vectors, rows, sessions.starts)


def _theme_batch(what: int, tally: Tally) -> pa.RecordBatch:
    keys, n = tally.drain()
    theme, index = unpack(keys)
    columns = [np.full(len(n), what, dtype=np.int32), theme, index, n]
    return pa.record_batch([pa.array(column) for column in columns], names=["what", "theme", "index", "n"])
