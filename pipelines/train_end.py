"""Where learning stops: nothing at or after ``train_end`` reaches a vocabulary count, vector or theme."""

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.instants import from_micros
from pipelines.placing import HOUR_US, hour_of


def choose_train_end(events: DataFrame, as_of: datetime, share: float) -> datetime:
    """The first full hour before which at least ``share`` of the events lie, at most ``as_of``.

    ``events`` are those before ``as_of``, with ``ts`` as a timestamp. Counting by the hour needs no sort
    and gives one answer for any partitioning.
    """
    hour = hour_of(F.unix_micros("ts"))
    counts = events.groupBy(hour.alias("hour")).count().orderBy("hour").collect()
    wanted, seen = share * sum(row["count"] for row in counts), 0
    for row in counts:
        seen += row["count"]
        if seen >= wanted:
            return min(from_micros((row["hour"] + 1) * HOUR_US), as_of)
    return as_of
