"""The null of the hop test: how far interest moves inside sessions of users that taught no vectors.

Our choice, for this reason: vectors are learned from what meets in a session, so events of one session
lie near each other *because* they were learned from, rare items most of all. A null of the very same
sessions is too narrow. Leaving out sessions is not enough: other sessions of their users still teach
the taste that holds them together. So one user in four, by the hash of the id, teaches nothing, and the
null is drawn from these users, under the vectors that tag.

Measured on Taobao (815 users, a fifth of them outside the fit; three deals) after each user's events are
dealt anew into sessions of the same sizes, so that nothing hops. Shares of decided sessions called hops
at alpha 0.1 (at 0.05); real data: the last column:

======================  ===========  ===========  ===========  ====
null from               teachers     held out     new users    real
======================  ===========  ===========  ===========  ====
every user, all teach   .27 (.18)    --           .48 (.35)    .58
a fourth of sessions    .14 (.08)    .13 (.07)    .24 (.14)    .37
a fourth of users       .05 (.03)    .10 (.05)    .11 (.05)    .32
======================  ===========  ===========  ===========  ====

So the test keeps its level for users that the vectors do not know, and is cautious about those they do
know: their taste is in the vectors and brings both sides of a boundary together. Where vectors know
every item well (the generator's default), users differ little: .105 of true non-hops are called hops.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame

from features.hops import PAIRS, SIDE, WINDOWS_SCHEMA, HopNull, SessionVectors, size_counts, windows_in
from features.vectors import VectorTable
from pipelines.fit.stream import Sessions, held_out, whole_sessions
from pipelines.workers import in_workers

WINDOWS = "pair int, distance double, priority long"


def learn_hop_null(narrow: DataFrame, table: VectorTable, limit: int, most: int, *, learned: bool) -> HopNull:
    """The null from sessions of the first ``limit`` hash buckets, ``most`` windows a class pair.

    Where the vectors are ``learned`` from sessions, only held out users serve (see ``stream.held_out``).

    Two passes: how sizes mix at the sides of all sessions, then the windows. A partition hands on no
    more windows of a pair than are kept in the end, those of smallest hash.
    """
    shared = narrow.sparkSession.sparkContext.broadcast(table)
    mix = _size_mix(narrow, table)

    def serves(sessions: Sessions) -> NDArray[np.bool_]:
        return (sessions.bucket < limit) & (held_out(sessions.user) if learned else True)

    def draw(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _smallest(_windows(batches, shared.value, mix, serves), most)

    def keep(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _smallest(batches, most)

    partial = in_workers(narrow, draw, WINDOWS).repartition("pair")
    windows = in_workers(partial, keep, WINDOWS).toArrow()
    pair, distance, priority = (windows.column(name).to_numpy() for name in WINDOWS_SCHEMA.names)
    return HopNull.fit(pair.astype(np.int64), distance, priority, most)


def _size_mix(narrow: DataFrame, table: VectorTable) -> NDArray[np.int64]:
    shared = narrow.sparkSession.sparkContext.broadcast(table)

    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        sizes = np.zeros(SIDE, dtype=np.int64)
        for sessions in whole_sessions(batches):
            sizes += size_counts(_vectors(sessions, shared.value).counts)
        yield pa.record_batch([pa.array(np.arange(SIDE)), pa.array(sizes)], names=["place", "n"])

    rows = in_workers(narrow, kernel, "place long, n long").groupBy("place").sum("n").toArrow()
    mix = np.zeros(SIDE, dtype=np.int64)
    mix[rows.column(0).to_numpy()] = rows.column(1).to_numpy()
    return mix


def _windows(
    batches: Iterable[pa.RecordBatch],
    table: VectorTable,
    mix: NDArray[np.int64],
    serves: Callable[[Sessions], NDArray[np.bool_]],
) -> Iterator[pa.RecordBatch]:
    for whole in whole_sessions(batches):
        sessions = whole.take(serves(whole))
        places = _vectors(sessions, table)
        yield windows_in(places, sessions.user, sessions.ordinal, table.vectors, mix).to_arrow()


def _smallest(batches: Iterable[pa.RecordBatch], most: int) -> Iterator[pa.RecordBatch]:
    """The ``most`` windows of smallest (priority, distance) of each class pair."""
    held: pa.Table | None = None
    for batch in batches:
        piece = pa.Table.from_batches([batch])
        held = piece if held is None else pa.concat_tables([held, piece])
        if held.num_rows > 2 * PAIRS * most:
            held = _cut(held, most)
    if held is not None and held.num_rows:
        yield from _cut(held, most).combine_chunks().to_batches()


def _cut(windows: pa.Table, most: int) -> pa.Table:
    pair, distance, priority = (windows.column(name).to_numpy() for name in WINDOWS_SCHEMA.names)
    order = np.lexsort((distance, priority, pair))
    sizes = np.bincount(pair, minlength=PAIRS)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return windows.take(pa.array(order[rank < most]))


def _vectors(sessions: Sessions, table: VectorTable) -> SessionVectors:
    rows, _ = table.lookup(sessions.item, sessions.category)
    return SessionVectors.of(rows, sessions.starts)
