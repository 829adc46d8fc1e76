"""The Spark session of the engines: ours, on all cores of this machine."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.spark import start_spark


def spark_session(name: str, source: str) -> SparkSession:
    """As ``jobs/build_sequences.py`` starts it to read ``source``."""
    return start_spark(f"seqloom bench {name}", {"spark.driver.memory": "6g"}, [source])


def read_events(spark: SparkSession, source: str) -> DataFrame:
    """``user_id``, ``ts`` (µs), ``item``, ``category`` and ``type`` of the raw events."""
    kind = F.expr("CASE event_type WHEN 'pv' THEN 1 WHEN 'cart' THEN 2 WHEN 'fav' THEN 3 ELSE 4 END")
    return spark.read.parquet(source).select(
        "user_id",
        F.unix_micros("ts").alias("ts"),
        F.col("item_id").cast("int").alias("item"),
        F.col("category_id").alias("category"),
        kind.cast("byte").alias("type"),
    )
