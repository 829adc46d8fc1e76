"""How often items and categories occur near each other inside sessions: exact integer counts in Spark."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from features.codes import FIRST_INDEX
from pipelines.fit.counts import Counts
from pipelines.fit.options import EmbeddingOptions
from pipelines.fit.stream import BUCKETS, Sessions, bucket_limit, held_out, whole_sessions
from pipelines.fit.tally import Tally, pack, unpack
from pipelines.workers import in_workers

PAIRS_SCHEMA: Final = pa.schema([("left", pa.int32()), ("right", pa.int32()), ("n", pa.int64())])


@dataclass(frozen=True)
class Tokens:
    """Numbers of what co-occurs: the head's items and categories first, then the tail's items.

    -1 stands for an index without a token: too rare, or (of a category) unknown.
    """

    item: NDArray[np.int32]  # (items,), by index
    category: NDArray[np.int32]  # (categories,), by index
    items: NDArray[np.int32]  # indices of the head's items, by token
    categories: NDArray[np.int32]  # indices of categories, by token - len(items)
    tail: NDArray[np.int32]  # indices of the tail's items, by token - contexts

    @property
    def contexts(self) -> int:
        """Number of the head's tokens; only these are contexts, so they bound the factorisation."""
        return len(self.items) + len(self.categories)

    @classmethod
    def of(cls, counts: Counts, options: EmbeddingOptions) -> "Tokens":
        """The most frequent items and categories (ties: lowest index), then the other frequent items."""
        frequent = _by_count(counts.items.index, counts.items.count, options.min_count)
        head, tail = frequent[: options.max_items], frequent[options.max_items :]
        categories = _by_count(counts.categories.index, counts.categories.count, 1)[: options.max_items]
        contexts = len(head) + len(categories)
        item = _number(counts.items.index, [(head, 0), (tail, contexts)])
        category = _number(counts.categories.index, [(categories, len(head))])
        return cls(item, category, head, categories, tail)


@dataclass(frozen=True)
class Pairs:
    """Unordered pairs of the head's tokens, left <= right, sorted; n counts sessions and places."""

    left: NDArray[np.int32]
    right: NDArray[np.int32]
    n: NDArray[np.int64]


def session_pairs(
    sessions: Sessions, tokens: Tokens, window: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Token pairs (n,) of neighbours inside sessions, left <= right, at least left of the head.

    An item counts once a session, where it first occurs. Two items are neighbours when fewer than
    ``window`` other distinct items lie between them. Neighbours a, b of categories A, B give the pairs
    ab, aB, bA and AB, each of weight one: categories carry what is known of rare items.
    """
    owner = np.repeat(np.arange(len(sessions.lengths), dtype=np.int32), sessions.lengths)
    _, first = np.unique(pack(owner, sessions.item), return_index=True)
    first.sort()
    owner, item = owner[first], tokens.item[sessions.item[first]]
    category = tokens.category[sessions.category[first]]
    found: list[NDArray[np.int64]] = []
    for step in range(1, window + 1):
        near = np.flatnonzero(owner[step:] == owner[:-step])
        if not len(near):
            break
        a, b, a_category, b_category = item[near], item[near + step], category[near], category[near + step]
        for one, other in ((a, b), (a, b_category), (b, a_category), (a_category, b_category)):
            left, right = np.minimum(one, other), np.maximum(one, other)
            kept = (left >= 0) & (left < tokens.contexts)
            found.append(pack(left[kept], right[kept]))
    return unpack(np.concatenate(found) if found else np.zeros(0, dtype=np.int64))


def count_pairs(narrow: DataFrame, tokens: Tokens, limit: int, window: int) -> DataFrame:
    """Counts of token pairs in sessions of the first ``limit`` hash buckets, less held out users'.

    Columns left, right, n.
    """
    shared = narrow.sparkSession.sparkContext.broadcast(tokens)

    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tally = Tally()
        for sessions in whole_sessions(batches):
            taught = sessions.take((sessions.bucket < limit) & ~held_out(sessions.user))
            left, right = session_pairs(taught, shared.value, window)
            tally.add(pack(left, right))
            if tally.full:
                yield _pairs_batch(tally)
        yield _pairs_batch(tally)

    partial = in_workers(narrow, kernel, "left int, right int, n long")
    return partial.groupBy("left", "right").agg(F.sum("n").alias("n"))


def head_pairs(pairs: DataFrame, contexts: int, most: int) -> Pairs:
    """The head's pairs on the driver, at most ``most``: those that occur most often.

    Of the pairs that share the lowest count kept, those in the first hash buckets are kept.
    """
    head = pairs.where(F.col("right") < contexts)
    by_count = head.groupBy("n").agg(F.count("*").alias("pairs")).toArrow()
    n, number = by_count.column("n").to_numpy(), by_count.column("pairs").to_numpy()
    if number.sum() > most:
        order = np.argsort(-n)
        above = np.concatenate([[0], np.cumsum(number[order])])
        lowest = order[np.searchsorted(above, most, side="right") - 1]
        spare = most - int(number[n > n[lowest]].sum())
        bucket = F.shiftrightunsigned(F.xxhash64("left", "right"), 48)
        at_lowest = head.where(F.col("n") == int(n[lowest]))
        sizes = at_lowest.groupBy(bucket.alias("bucket")).agg(F.count("*").alias("pairs")).toArrow()
        histogram = np.zeros(BUCKETS, dtype=np.int64)
        histogram[sizes.column("bucket").to_numpy()] = sizes.column("pairs").to_numpy()
        kept = bucket < bucket_limit(histogram, spare)
        head = head.where((F.col("n") > int(n[lowest])) | ((F.col("n") == int(n[lowest])) & kept))
    table = head.toArrow()
    left, right = table.column("left").to_numpy(), table.column("right").to_numpy()
    order = np.lexsort((right, left))  # rows arrive in any order
    return Pairs(left[order], right[order], table.column("n").to_numpy()[order])


def tail_pairs(pairs: DataFrame, contexts: int) -> DataFrame:
    """Pairs of a tail item (``right``) and a context (``left``), a tail item's rows together, sorted."""
    tail = pairs.where(F.col("right") >= contexts)
    return tail.repartition("right").sortWithinPartitions("right", "left")


def stored(pairs: DataFrame) -> DataFrame:
    """The counts kept on local disks, for they are read more than once; unpersist them afterwards."""
    return pairs.persist(StorageLevel.DISK_ONLY)


def _pairs_batch(tally: Tally) -> pa.RecordBatch:
    keys, n = tally.drain()
    left, right = unpack(keys)
    return pa.record_batch([pa.array(left), pa.array(right), pa.array(n)], schema=PAIRS_SCHEMA)


def _by_count(index: NDArray[np.int32], count: NDArray[np.int64], least: int) -> NDArray[np.int32]:
    """Named indices that occur ``least`` times or more, most frequent first, ties by index."""
    kept = (index >= FIRST_INDEX) & (count >= least)
    index, count = index[kept], count[kept]
    return np.asarray(index[np.lexsort((index, -count))])


def _number(index: NDArray[np.int32], groups: list[tuple[NDArray[np.int32], int]]) -> NDArray[np.int32]:
    """Token of every index, each group's numbered from its offset on; -1 for those in no group."""
    token = np.full(int(index.max(initial=FIRST_INDEX)) + 1, -1, dtype=np.int32)
    for group, offset in groups:
        token[group] = np.arange(offset, offset + len(group), dtype=np.int32)
    return token
