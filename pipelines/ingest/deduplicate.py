"""One event an id: inside a batch the smallest canonical payload wins; bronze keeps what it has."""

from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.ingest.clean import TYPED

PAYLOAD: Final = ("user_id", "item_id", "category_id", "event_type", "ts_us", "sequence", "session_key")
"""The canonical payload, in the order in which two are compared; null is the smallest."""

KEPT_FIELDS: Final = (*PAYLOAD, "mode", "event_id", "reason", "raw", "file")


def deduplicate(checked: DataFrame, known: DataFrame | None, partitions: int) -> DataFrame:
    """One row an event id, and every refused row as it is, in one shuffle of the batch.

    Adds ``copies`` (rows of the batch with this id), ``conflict`` (another payload has the same id,
    in the batch or in bronze) and ``known`` (bronze holds the id, so none of the copies is new).
    ``known`` is bronze's ``event_id`` and ``payload_hash``.
    """
    # A refused row keeps its own key: refused rows are never merged.
    own = F.concat(F.lit("\0"), F.monotonically_increasing_id().cast("string"))
    is_valid = F.col("reason").isNull()
    rows = (
        checked.withColumn("key", F.when(is_valid, F.col("event_id")).otherwise(own))
        .withColumn("payload_hash", payload_hash())
        .select("key", "payload_hash", F.struct(*KEPT_FIELDS).alias("row"))
        .repartition(partitions, "key")
    )
    single = rows.groupBy("key").agg(
        F.min("row").alias("row"),
        F.count(F.lit(1)).alias("copies"),
        F.min("payload_hash").alias("lowest"),
        F.max("payload_hash").alias("highest"),
    )
    conflict = F.col("lowest") != F.col("highest")
    if known is None:
        joined = single.withColumn("known", F.lit(False))
    else:
        bronze = known.select(
            F.col("event_id").alias("key"), F.col("payload_hash").alias("bronze_hash")
        ).repartition(partitions, "key")
        joined = single.join(bronze, "key", "left").withColumn("known", F.col("bronze_hash").isNotNull())
        conflict = conflict | (F.col("known") & (F.col("bronze_hash") != F.col("highest")))
    return joined.select(
        *(F.col(f"row.{name}").alias(name) for name in (*TYPED, "reason", "raw", "file")),
        "copies",
        "known",
        conflict.alias("conflict"),
    )


def payload_hash() -> Column:
    """A 64-bit hash of the canonical payload; it only counts conflicts, it decides nothing."""
    return F.xxhash64(*(F.coalesce(F.col(name).cast("string"), F.lit("\0")) for name in PAYLOAD))
