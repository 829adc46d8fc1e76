"""The Spark session of the engines: ours, on all cores of this machine."""

from pyspark.sql import SparkSession

from pipelines.spark import start_spark


def spark_session(name: str, source: str) -> SparkSession:
    """As ``jobs/build_sequences.py`` starts it to read ``source``."""
    return start_spark(f"seqloom bench {name}", {"spark.driver.memory": "6g"}, [source])
