"""Which partition a user goes to: users who were active at about the same time lie in the same files.

Tomorrow's events are mostly of users who were active these days. With users dealt out by hash they would
touch every file of every table (measured: a merge of 1 % of the users rewrote 62 of 64 files).
"""

from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.broadcast import offered
from pipelines.encode import order_by_user
from pipelines.placing import hour_of, placed_by_hour


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
    joined = encoded.join(offered(places, sum(hour.users for hour in hours)), "user_id")
    return order_by_user(joined, partitions, by="place")


def user_partitions(users: DataFrame, hours: list[Hour], partitions: int) -> DataFrame:
    """``user_id`` and ``place`` of each user: a number that ``repartition`` by it hashes where it should.

    ``users`` has ``user_id``, ``last_ts`` and ``n_events``. Partitions follow the hour of the last event and
    have about as many events each; users of an hour that fills several are dealt out among them.
    """
    sizes = ((one.hour, one.events) for one in hours)
    placed = placed_by_hour(users, _last_hour(), sizes, partitions, ("user_id",))
    return placed.select("user_id", "place")


def _last_hour() -> Column:
    return hour_of(F.unix_micros("last_ts"))
