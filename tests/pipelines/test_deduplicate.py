"""Single events, however many partitions they are dealt to: those of one partition."""

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.ingest.deduplicate import _in_time, deduplicate, in_time
from pipelines.placing import HOUR_US

SCHEMA = (
    "user_id string, item_id string, category_id string, event_type string, mode int, ts_us bigint, "
    "sequence bigint, session_key string, event_id string"
)
Row = tuple[Any, ...]


def rows(seed: int, size: int, hours: tuple[int, ...]) -> list[Row]:
    """Few users, items and times, so that many events repeat, some with another category."""
    rng = np.random.default_rng(seed)
    found = []
    for hour, minute, user, item, category in zip(
        rng.choice(hours, size), *(rng.integers(0, few, size) for few in (5, 4, 3, 2)), strict=True
    ):
        ts = int(hour) * HOUR_US + int(minute) * 60_000_000
        name = f"{user}/{item}/{ts}"
        found.append((f"u{user}", f"i{item}", f"c{category}", "pv", 1, ts, None, None, name))
    return found


def hours_of(events: list[Row]) -> list[tuple[int, int]]:
    return sorted(Counter(event[5] // HOUR_US for event in events).items())


def contents(frame: DataFrame) -> list[str]:
    return sorted(str(row.asDict()) for row in frame.drop("event_id").collect())


@pytest.mark.parametrize("source_ids", [True, False])
def test_partitions_change_nothing(spark: Any, source_ids: bool) -> None:
    """Bronze has rows in hours of the batch, half of them known, and in one between them."""
    batch, bronze = rows(1, 600, (10, 11, 11, 14)), rows(2, 200, (10, 12, 14))
    frames = spark.createDataFrame(batch, SCHEMA), spark.createDataFrame(bronze, SCHEMA)
    found = [contents(deduplicate(*frames, partitions, source_ids, hours_of(batch))) for partitions in (1, 5)]
    assert found[0] == found[1]
    assert len(found[0]) == len({event[8] for event in batch})
    assert sum("'known': True" in row for row in found[0]) == len(
        {event[8] for event in batch} & {event[8] for event in bronze}
    )


@pytest.mark.parametrize("partitions", [1, 5])
def test_bronze_of_other_hours_is_not_moved(spark: Any, partitions: int) -> None:
    """A stream's small batch would bring all of it into one task."""
    batch, bronze = rows(1, 100, (10, 11)), rows(2, 200, (9, 10, 12, 40))
    marked = (
        spark.createDataFrame(events, SCHEMA).withColumn("is_new", F.lit(is_new))
        for events, is_new in ((batch, True), (bronze, False))
    )
    moved = _in_time(next(marked).unionByName(next(marked)), hours_of(batch), partitions)
    held = sum(event[5] // HOUR_US in (10, 11) for event in bronze)
    assert 0 < held < len(bronze)
    assert moved.count() == len(batch) + held


def test_a_row_of_an_hour_that_nobody_counted_is_not_lost(spark: Any) -> None:
    batch = rows(1, 100, (10, 11))
    late = rows(3, 5, (40,))
    single = deduplicate(spark.createDataFrame(batch + late, SCHEMA), None, 3, False, hours_of(batch))
    assert single.count() == len({event[8] for event in batch + late})


def test_partitions_are_ranges_of_time_and_alike(spark: Any) -> None:
    """A quiet day, and an hour in which most of it happens."""
    hours = tuple(range(24)) + (7,) * 40
    events = rows(4, 4_000, hours)
    placed = in_time(spark.createDataFrame(events, SCHEMA), hours_of(events), 8)
    assert placed.columns == [name.split()[0] for name in SCHEMA.split(", ")]
    hour = F.col("ts_us") / HOUR_US
    spans = placed.groupBy(F.spark_partition_id().alias("number")).agg(
        F.floor(F.min(hour)), F.floor(F.max(hour)), F.count("*")
    )
    found = sorted(tuple(row) for row in spans.collect())
    assert len(found) == 8
    assert all(one[2] <= other[1] for one, other in pairwise(found))
    assert max(row[3] for row in found) < 3 * 4_000 / 8
