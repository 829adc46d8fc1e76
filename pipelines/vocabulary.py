"""Append-only names for ids: dense int32 indices from 2 that never change."""

from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from features.codes import FIRST_INDEX
from pipelines.errors import WarehouseError
from pipelines.side_by_side import side_by_side
from pipelines.warehouse import Warehouse

LAST_INDEX = 2**31 - 1
PARTITION_BITS = 33  # of monotonically_increasing_id: partition << 33 | row in the partition


def extend_vocabularies(warehouse: Warehouse, events: DataFrame) -> dict[str, int]:
    """Name every item, category and event type of the events; the three tables' versions."""
    types = events.groupBy(F.col("event_type").alias("id")).agg(F.min("mode").cast("int").alias("mode"))
    named = {
        "silver/items": events.select(F.col("item_id").alias("id")),
        "silver/categories": events.select(F.col("category_id").alias("id")),
        "silver/event_types": types,
    }
    versions = side_by_side([partial(extend_vocabulary, warehouse, ids, name) for name, ids in named.items()])
    return dict(zip(named, versions, strict=True))


def extend_vocabulary(warehouse: Warehouse, ids: DataFrame, table: str) -> int:
    """Give each id that the table lacks the next free index, in order of id; the table's version.

    ``ids`` holds ``id`` (repeats and nulls are fine) and perhaps columns that belong to the id. The
    same set of new ids gets the same indices, however it is partitioned or ordered. No step runs in a
    single partition, and only one number a partition reaches the driver.

    Raises WarehouseError where int32 is used up.
    """
    exists = warehouse.exists(table)
    new = ids.where(F.col("id").isNotNull()).dropDuplicates(["id"])
    first = FIRST_INDEX
    if exists:
        held = warehouse.read(table)
        first = (held.agg(F.max("index")).head(1)[0][0] or FIRST_INDEX - 1) + 1
        new = new.join(held.select("id"), "id", "left_anti")
    partitions = int(warehouse.spark.conf.get("spark.sql.shuffle.partitions") or 8)
    place = F.monotonically_increasing_id()
    ordered = (
        new.repartitionByRange(partitions, "id")
        .sortWithinPartitions("id")
        .withColumn("place", place)
        .persist()
    )
    try:
        partition = F.shiftright("place", PARTITION_BITS).cast("int")
        counts = {row[0]: row[1] for row in ordered.groupBy(partition.alias("partition")).count().collect()}
        total = sum(counts.values())
        if exists and not total:
            return warehouse.version(table)
        if first + total - 1 > LAST_INDEX:
            raise WarehouseError(f"{table}: {total} more ids do not fit int32 indices; split the source")
        offsets = [first]
        for number in range(max(counts, default=0)):
            offsets.append(offsets[-1] + counts.get(number, 0))
        rank = F.col("place").bitwiseAND(F.lit(2**PARTITION_BITS - 1))
        index = (F.element_at(F.lit(offsets), partition + 1) + rank).cast("int")
        others = [name for name in ids.columns if name != "id"]
        return warehouse.append(ordered.select("id", index.alias("index"), *others), table)
    finally:
        ordered.unpersist()
