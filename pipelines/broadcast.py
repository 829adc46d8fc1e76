"""Which frames go to every core whole, so that the events they are joined with need not move."""

from typing import Any, Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

ROW_BYTES: Final = 100
"""Of a row of an id and a value or two in Spark's hash table."""

SHARE: Final = 0.1
"""Of a JVM's memory that such a table may have; while it is sent it takes twice that."""


def offered(frame: DataFrame, rows: int) -> DataFrame:
    """``frame`` of so many small rows as a side to broadcast where they fit, else as Spark thinks best."""
    return F.broadcast(frame) if rows <= most_rows(frame.sparkSession) else frame


def most_rows(spark: SparkSession) -> int:
    """That go to every core: by the memory of the driver, and on a cluster of an executor."""
    context = spark.sparkContext
    jvm: Any = context._jvm
    least = jvm.Runtime.getRuntime().maxMemory()
    if not str(context.master).startswith("local"):
        asked = context.getConf().get("spark.executor.memory", "1g")
        least = min(least, jvm.org.apache.spark.network.util.JavaUtils.byteStringAsBytes(asked))
    return int(least * SHARE / ROW_BYTES)
