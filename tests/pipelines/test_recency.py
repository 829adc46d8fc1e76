"""Users dealt to partitions by when they were last active."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from pyspark.sql import functions as F

from features.resume import ORDERED_EVENTS
from pipelines import broadcast
from pipelines.recency import last_hours, place_by_recency, user_partitions, visible_users
from pipelines.session_settings import session_settings

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


@pytest.mark.parametrize("share", [0.0, broadcast.SHARE])
def test_users_too_many_to_broadcast_lie_where_they_would(
    spark: Any, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """300 users with an event every 300 hours, the last ones an hour apart, in that order."""
    monkeypatch.setattr(broadcast, "SHARE", share)
    bronze = spark.range(3_000).select(
        F.concat(F.lit("u"), F.col("id") % 300).alias("user_id"),
        F.timestamp_seconds(F.col("id") * 3_600).alias("ts"),
    )
    rest = [F.lit(1).alias(name) for name in ORDERED_EVENTS.names if name not in ("user_id", "ts")]
    encoded = bronze.select("user_id", F.unix_micros("ts").alias("ts"), *rest)
    users = visible_users(bronze, START)
    with session_settings(
        spark, {"spark.sql.autoBroadcastJoinThreshold": "-1", "spark.sql.adaptive.enabled": "false"}
    ):
        ordered = place_by_recency(encoded, users, last_hours(users), 5)
        plan = ordered._jdf.queryExecution().executedPlan().toString()
        found = ordered.select(F.spark_partition_id().alias("partition"), "user_id", "ts").collect()
    assert ("SortMergeJoin" in plan) == (share == 0.0)
    assert len(found) == 3_000
    homes = {(row.user_id, row.partition) for row in found}
    assert len(homes) == 300
    by_partition = sorted((partition, int(user[1:])) for user, partition in homes)
    assert [number for _, number in by_partition] == list(range(300))
