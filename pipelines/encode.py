"""Narrow integers in place of ids, then one shuffle that brings each user's events together in order."""

from collections.abc import Mapping
from datetime import datetime
from math import ceil

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from features.codes import UNKNOWN
from features.resume import ORDERED_EVENTS
from pipelines.config.model import SparkSettings
from pipelines.instants import to_micros
from pipelines.warehouse import Warehouse


def partition_count(n_events: int, settings: SparkSettings, cores: int = 1) -> int:
    """Partitions for that many events: given, or from the data's size, with work for every core."""
    if settings.partitions != "auto":
        return settings.partitions
    for_cores = min(cores, ceil(n_events / 10_000))
    return max(1, for_cores, ceil(n_events / settings.events_per_partition))


def encode(
    events: DataFrame, warehouse: Warehouse, as_of: datetime, versions: Mapping[str, int] | None = None
) -> DataFrame:
    """Bronze events before ``as_of`` as ``ORDERED_EVENTS``, in no order; an unknown id is 1.

    ``versions`` pins the vocabularies' tables (``silver/items`` and so on); default: their newest.
    """
    pinned = versions or {}
    frame = events.where(F.unix_micros("ts") < to_micros(as_of)).withColumn("ts", F.unix_micros("ts"))
    for ours, theirs, table in (
        ("item", "item_id", "silver/items"),
        ("category", "category_id", "silver/categories"),
        ("type", "event_type", "silver/event_types"),
    ):
        names = warehouse.read(table, pinned.get(table)).select(
            F.col("id").alias(theirs), F.col("index").alias(ours)
        )
        frame = frame.join(names, theirs, "left").withColumn(ours, _known(F.col(ours)))
    return frame.select(*ORDERED_EVENTS.names)


def order_by_user(encoded: DataFrame, partitions: int, by: str = "user_id") -> DataFrame:
    """Whole users in ``partitions`` partitions, sorted as ``ENCODED_EVENTS`` demands.

    ``by`` is a column with one value a user that decides on the partition (``pipelines.recency``).
    """
    return (
        encoded.repartition(partitions, by)
        .sortWithinPartitions("user_id", "ts", "sequence", "mode", "event_id")
        .select(*ORDERED_EVENTS.names)
    )


def _known(index: Column) -> Column:
    return F.coalesce(index, F.lit(UNKNOWN)).cast("int")
