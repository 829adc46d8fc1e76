"""The side table that brings each item's category, frozen into the events at ingest."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.config.model import Items
from pipelines.errors import SourceError
from pipelines.ingest.files import reading
from pipelines.ingest.records import Records
from pipelines.ingest.sources import read_records


def read_items(spark: SparkSession, items: Items) -> DataFrame:
    """``item_id, category_id`` as strings, one row an item; items without a category are left out.

    Raises SourceError for a record that cannot be read, and for an item with two categories.
    """
    columns = {"item_id": items.item_id, "category_id": items.category_id}
    records = read_records(spark, Records(items.path, items.format, columns, section="items"))
    with reading(items.path):
        broken = records.where(F.col("fault").isNotNull()).select("file", "raw", "fault").head(1)
    if broken:
        file, raw, fault = broken[0]
        raise SourceError(f"{file}: {fault} in {raw!r}; mend this row of [items]")
    item, category = F.trim("item_id"), F.trim("category_id")
    grouped = (
        records.select(item.alias("item_id"), category.alias("category_id"))
        .where((F.col("item_id") != "") & (F.col("category_id") != ""))
        .groupBy("item_id")
        .agg(F.min("category_id").alias("category_id"), F.max("category_id").alias("other"))
    )
    with reading(items.path):
        twice = grouped.where(F.col("category_id") != F.col("other")).orderBy("item_id").head(1)
    if twice:
        item_id, first, second = twice[0]
        raise SourceError(
            f"{items.path}: item {item_id} has categories {first} and {second}; keep one row an item"
        )
    return grouped.select("item_id", "category_id")


def add_categories(events: DataFrame, items: DataFrame) -> DataFrame:
    """Events with ``category_id`` from the side table, null for items that it does not hold."""
    return events.drop("category_id").join(items, "item_id", "left")
