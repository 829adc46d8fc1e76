"""The Spark session that every job shares."""

import logging
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Final

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from pipelines.errors import ConfigError
from pipelines.packages import DELTA_PACKAGE, JAVA_ADVICE, JAVA_MAJOR, KAFKA_PACKAGE, find_java
from pipelines.small import SETTINGS, is_small

REQUIRED: Final = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
}
SHUFFLE: Final = "spark.sql.shuffle.partitions"


def start_spark(
    app: str, settings: Mapping[str, str] | None = None, places: Iterable[str] = ()
) -> SparkSession:
    """A session with Delta, UTC and Arrow; ``settings`` win over ours, spark-submit's over both.

    What the tables rest on (``REQUIRED``) only ``settings`` can change, not spark-submit or a cluster's
    defaults. Unless somebody says otherwise, a shuffle has two partitions for each core, and at least 8.
    ``places``: the files and folders that the job will read; where they hold little, ``pipelines.small`` has
    it that way. Raises ConfigError where Java is missing or too old, or where Delta's jars cannot be found.
    """
    if "SPARK_CONNECT_MODE_ENABLED" not in os.environ and "PYSPARK_GATEWAY_PORT" not in os.environ:
        require_java()
    # Workers must import what the driver imports; without this they take the system's python3.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    ours = {
        "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.databricks.delta.snapshotPartitions": "2",
        # A merge into gold would bring all rows of a bucket into one task and one file, and each day again.
        "spark.databricks.delta.merge.repartitionBeforeWrite.enabled": "false",
        # What is kept on disk is LZ4 anyway; finding codes for its columns first costs 1 µs an event.
        "spark.sql.inMemoryColumnarStorage.compressed": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.ui.enabled": "false",
    }
    given = dict(settings or {})
    looked_at = list(places)
    small = SETTINGS if looked_at and is_small(looked_at) else {}
    told = submitted()
    builder = SparkSession.builder.appName(app)
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        builder = builder.config("spark.driver.memory", driver_memory())
    for key, value in {**REQUIRED, **ours, **small, **given}.items():
        if key in REQUIRED or key not in told:
            builder = builder.config(key, value)
    spark = builder.getOrCreate()
    if looked_at and not small:  # of a session that a smaller job began
        for key in SETTINGS.keys() - ours.keys() - given.keys() - told:
            if spark.conf.isModifiable(key):
                spark.conf.unset(key)
    if SHUFFLE not in {*small, *given, *told}:
        spark.conf.set(SHUFFLE, str(shuffle_partitions(session_cores(spark))))
    spark.sparkContext.setLogLevel("ERROR")
    # An exception says it all; pyspark would print its Java half a second time, as one line of JSON.
    logging.getLogger("DataFrameQueryContextLogger").setLevel(logging.CRITICAL)
    _require_class(spark, "io.delta.sql.DeltaSparkSessionExtension", "Delta", DELTA_PACKAGE)
    return spark


def submitted() -> frozenset[str]:
    """The settings that spark-submit gave, from its command line or its file of defaults; else none."""
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        return frozenset()
    SparkContext._ensure_initialized()  # the JVM runs already, and has them as its properties
    return frozenset(key for key, _ in SparkConf().getAll())


def session_cores(spark: SparkSession) -> int:
    """Of all executors; those that have not registered yet count where the settings tell of them."""
    conf = spark.sparkContext.getConf()
    each = int(conf.get("spark.executor.cores", "1"))
    asked = int(conf.get("spark.executor.instances", "0")) * each
    return max(spark.sparkContext.defaultParallelism, asked, int(conf.get("spark.cores.max", "0")))


def shuffle_partitions(cores: int) -> int:
    """For queries whose size is not known when they are planned."""
    return max(8, 2 * cores)


def driver_memory() -> str:
    """A third of this machine's memory, 1 to 8 GiB: local mode runs everything in the driver's JVM."""
    page_bytes, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    gib = page_bytes * pages / 3 / 2**30
    return f"{int(min(max(gib, 1), 8))}g"


def require_java() -> None:
    """ConfigError, in one line that says what to install, unless Java 17 or newer answers."""
    java = find_java(os.environ)
    if java.path is None or not os.access(java.path, os.X_OK):
        raise ConfigError(f"Java is missing: {JAVA_ADVICE}")
    if java.major is None or java.major < JAVA_MAJOR:
        raise ConfigError(
            f"Java {JAVA_MAJOR} or newer is needed, {java.path} says {java.answer}: {JAVA_ADVICE}"
        )


def require_kafka(spark: SparkSession) -> None:
    """ConfigError unless Spark's Kafka source is on the class path."""
    _require_class(spark, "org.apache.spark.sql.kafka010.KafkaSourceProvider", "Kafka", KAFKA_PACKAGE)


def _require_class(spark: SparkSession, name: str, whose: str, package: str) -> None:
    assert spark.sparkContext._jvm is not None
    loader = spark.sparkContext._jvm.Thread.currentThread().getContextClassLoader()
    try:
        loader.loadClass(name)
    except Exception:
        raise ConfigError(
            f"{whose}'s jars are not on Spark's class path: run `make setup` or pass --packages {package}"
        ) from None
