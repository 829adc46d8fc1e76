"""Users dealt to partitions by when they were last active."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from pyspark.sql import functions as F

from pipelines.recency import last_hours, user_partitions

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_partitions_follow_the_last_event_and_have_like_sizes(spark: Any) -> None:
    """400 users, one after the other by the hour, but for the last 100, who share one hour."""
    users = [(f"u{n}", START + timedelta(hours=min(n, 300)), 5) for n in range(400)]
    frame = spark.createDataFrame(users, "user_id string, last_ts timestamp, n_events long")
    placed = frame.join(user_partitions(frame, last_hours(frame), 8), "user_id").repartition(8, "place")
    found = placed.withColumn("partition", F.spark_partition_id()).collect()
    spans = {}
    for row in found:
        first, last, count = spans.get(row.partition, (row.last_ts, row.last_ts, 0))
        spans[row.partition] = (min(first, row.last_ts), max(last, row.last_ts), count + 1)
    assert sorted(spans) == list(range(8))
    ordered = [spans[number] for number in range(8)]
    assert all(one[1] <= other[0] for one, other in pairwise(ordered))
    assert all(count == 50 for *_, count in ordered[:6]) and sum(count for *_, count in ordered[6:]) == 100
    assert min(count for *_, count in ordered) > 25
