"""Which partition a user goes to: users who were active at about the same time lie in the same files.

Tomorrow's events are mostly of users who were active these days. With users dealt out by hash they would
touch every file of every table (measured: a merge of 1 % of the users rewrote 62 of 64 files).
"""

from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.encode import order_by_user
from pipelines.placing import hashing_to

HOUR_US = 3_600_000_000
BROADCAST_USERS = 1_000_000
"""Up to so many users (some 100 MB) their partitions go to every core; beyond, Spark joins by shuffle."""


def visible_users(events: DataFrame, as_of: datetime) -> DataFrame:
    """``user_id``, ``first_ts``, ``last_ts`` and ``n_events`` of bronze events before ``as_of``."""
    visible = events.where(F.col("ts") < F.lit(as_of))
    return visible.groupBy("user_id").agg(
        F.min("ts").alias("first_ts"), F.max("ts").alias("last_ts"), F.count("*").alias("n_events")
    )


@dataclass(frozen=True)
class Hour:
    """The users whose last event lies in an hour, and all their events."""

    hour: int  # since the epoch
    events: int
    users: int


def last_hours(users: DataFrame) -> list[Hour]:
    """Of ``visible_users``, in order: one query that tells how many they are, too."""
    counted = users.groupBy(_last_hour().alias("hour")).agg(F.sum("n_events"), F.count("*")).orderBy("hour")
    return [Hour(*row) for row in counted.collect()]


def place_by_recency(encoded: DataFrame, users: DataFrame, hours: list[Hour], partitions: int) -> DataFrame:
    """Whole users in order, those in one partition who were last active at about the same time.

    ``users`` are ``visible_users`` of the events, ``hours`` their ``last_hours``.
    """
    places = user_partitions(users, hours, partitions)
    if sum(hour.users for hour in hours) <= BROADCAST_USERS:
        places = F.broadcast(places)
    return order_by_user(encoded.join(places, "user_id"), partitions, by="place")


def user_partitions(users: DataFrame, hours: list[Hour], partitions: int) -> DataFrame:
    """``user_id`` and ``place`` of each user: a number that ``repartition`` by it hashes where it should.

    ``users`` has ``user_id``, ``last_ts`` and ``n_events``. Partitions follow the hour of the last event and
    have about as many events each; users of an hour that fills several are dealt out among them.
    """
    ends = list(accumulate(hour.events for hour in hours))
    total = ends[-1] if ends else 1
    spans = []
    for one, end in zip(hours, ends, strict=True):
        first = (end - one.events) * partitions // total
        last = max(first, (end - 1) * partitions // total)
        spans.append((one.hour, first, last - first + 1))
    spark = users.sparkSession
    spread = F.broadcast(spark.createDataFrame(spans, "hour long, first int, span int"))
    keys = F.array(*(F.lit(key) for key in hashing_to(partitions)))
    partition = F.col("first") + F.pmod(F.xxhash64("user_id"), F.col("span")).cast("int")
    placed = users.withColumn("hour", _last_hour()).join(spread, "hour")
    return placed.select("user_id", F.element_at(keys, partition + 1).alias("place"))


def _last_hour() -> Column:
    return F.floor(F.unix_micros("last_ts") / HOUR_US)
