"""The identity of an event whose source names none."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def derive_event_id(user_id: Column, item_id: Column, event_type: Column, ts_us: Column) -> Column:
    """md5 of user, item, type and ts (µs), hex; never of file, row or category (our choice).

    Each part carries its length in front, so no two events share a text whatever their ids contain.
    """
    parts: list[Column] = []
    for text in (user_id, item_id, event_type):
        parts += [F.length(text).cast("string"), F.lit(":"), text, F.lit(" ")]
    return F.md5(F.concat(*parts, ts_us.cast("string")))


def with_event_id(events: DataFrame, source_ids: bool) -> DataFrame:
    """Events with their id: the source's own where it gives one."""
    if source_ids:
        return events
    parts = (F.col(name) for name in ("user_id", "item_id", "event_type", "ts_us"))
    return events.withColumn("event_id", derive_event_id(*parts))
