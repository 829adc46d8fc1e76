"""One event an id: inside a batch the smallest canonical payload wins; bronze keeps what it has."""

from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from features.raw import DERIVED_KEY, PAYLOAD
from pipelines.placing import Hours, hour_of, placed_by_hour

SOURCE_KEY: Final = ("event_id",)


def deduplicate(
    batch: DataFrame, bronze: DataFrame | None, partitions: int, source_ids: bool, hours: Hours
) -> DataFrame:
    """One row for each event id of the batch, in one shuffle that bronze's rows go through as well.

    Both frames hold ``PAYLOAD``, ``mode`` and ``event_id`` (used where the source gives ids). Adds
    ``copies`` (rows of the batch with this id), ``known`` (bronze holds the id, so none of them is new)
    and ``conflict`` (the id came with more than one payload, in the batch or in bronze). ``hours`` are
    those of the batch: where ids are derived, the result's partitions are ranges of time.
    """
    key = SOURCE_KEY if source_ids else DERIVED_KEY
    rows = _rows(batch, key, is_new=True)
    if bronze is not None:
        rows = rows.unionByName(_rows(bronze, key, is_new=False))
    if source_ids:
        groups, placed = key, rows.repartition(partitions, *key)
    else:
        alone = partitions == 1 and bronze is None
        groups = (*key, "place")
        placed = rows.withColumn("place", F.lit(0)) if alone else _in_time(rows, hours, partitions)
        placed = placed.repartition(partitions, "place")
    rest = [name for name in (*PAYLOAD, "mode") if name not in key]
    return (
        placed.groupBy(*groups)
        .agg(
            F.min(F.when(F.col("is_new"), F.struct(*rest))).alias("row"),
            F.count_if("is_new").alias("copies"),
            (F.count_if(~F.col("is_new")) > 0).alias("known"),
            (F.min("payload_hash") != F.max("payload_hash")).alias("conflict"),
        )
        .where(F.col("copies") > 0)
        .select(*key, *(F.col(f"row.{name}").alias(name) for name in rest), "copies", "known", "conflict")
    )


def in_time(events: DataFrame, hours: Hours, partitions: int) -> DataFrame:
    """Single events in partitions by the hour of ``ts_us``, whose sizes ``hours`` tells."""
    return _placed(events, hours, partitions).repartition(partitions, "place").drop("place")


def _in_time(rows: DataFrame, hours: Hours, partitions: int) -> DataFrame:
    """Batch and bronze with a ``place``; what bronze has in other hours than the batch is none of its events.

    Spark's own ranges would read the source once more, for a sample.
    """
    return _placed(rows, hours, partitions).where(F.col("is_new") | F.col("place").isNotNull())


def _placed(rows: DataFrame, hours: Hours, partitions: int) -> DataFrame:
    return placed_by_hour(rows, hour_of(F.col("ts_us")), hours, partitions, DERIVED_KEY)


def _rows(events: DataFrame, key: tuple[str, ...], is_new: bool) -> DataFrame:
    names = dict.fromkeys((*key, *PAYLOAD, "mode"))
    return events.select(*names, _payload_hash().alias("payload_hash"), F.lit(is_new).alias("is_new"))


def _payload_hash() -> Column:
    """A 64-bit hash of the canonical payload; it only counts conflicts, it decides nothing."""
    # xxhash64 skips nulls, so that (null, a) and (a, null) would be alike without a stand-in.
    missing = {"ts_us": F.lit(-1), "sequence": F.lit(-(2**63))}
    return F.xxhash64(*(F.coalesce(F.col(name), missing.get(name, F.lit("\0"))) for name in PAYLOAD))
