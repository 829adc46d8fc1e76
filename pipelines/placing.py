"""Which partition a row goes to: by the hour, by numbers that Spark's ``repartition`` hashes there."""

from collections.abc import Iterable, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

HOUR_US = 3_600_000_000
_SEED = 42

Hours = Iterable[tuple[int, int]]
"""Hours since the epoch, ascending, and the events of each."""


def hour_of(micros: Column) -> Column:
    """Hours since the epoch (bigint)."""
    return F.floor(micros / HOUR_US)


def placed_by_hour(
    rows: DataFrame, hour: Column, hours: Hours, partitions: int, within: Sequence[str]
) -> DataFrame:
    """The rows with an int ``place``, by which ``repartition(partitions, "place")`` deals them out.

    Partitions follow the ``hour`` of the row and have about as many events each; rows of an hour that fills
    several are dealt out among them by the columns ``within``. Null in an hour that is none of ``hours``.
    """
    counts = list(hours)
    ends = list(accumulate(events for _, events in counts))
    total = ends[-1] if ends else 1
    spans = []
    for (number, events), end in zip(counts, ends, strict=True):
        first = (end - events) * partitions // total
        last = max(first, (end - 1) * partitions // total)
        spans.append((number, first, last - first + 1))
    spread = rows.sparkSession.createDataFrame(spans, "hour long, first int, span int")
    keys = F.array(*(F.lit(key) for key in hashing_to(partitions)))
    partition = F.col("first") + F.pmod(F.xxhash64(*within), F.col("span")).cast("int")
    # Spark believes that an element of an array without nulls is never null, even at no index at all.
    place = F.when(F.col("first").isNotNull(), F.element_at(keys, partition + 1))
    joined = rows.withColumn("hour", hour).join(F.broadcast(spread), "hour", "left")
    return joined.withColumn("place", place).drop("hour", "first", "span")


def hashing_to(partitions: int) -> list[int]:
    """For each partition the smallest number that ``repartition(partitions, …)`` puts there."""
    limit = 64
    while True:
        found, first = np.unique(spark_hash(np.arange(limit)) % partitions, return_index=True)
        if len(found) == partitions:
            return [int(number) for number in first]
        limit *= 4


def spark_hash(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Spark's ``hash`` of ints: 32-bit Murmur 3 of their four bytes, as signed numbers."""
    k = _rotated(numbers.astype(np.uint32) * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593)
    h = _rotated(k ^ np.uint32(_SEED), 13) * np.uint32(5) + np.uint32(0xE6546B64)
    h ^= np.uint32(4)  # bytes
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return (h ^ (h >> np.uint32(16))).astype(np.int32).astype(np.int64)


def _rotated(values: NDArray[np.uint32], bits: int) -> NDArray[np.uint32]:
    return (values << np.uint32(bits)) | (values >> np.uint32(32 - bits))
