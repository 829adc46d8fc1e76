"""Refused rows that stand in quarantine already: a folder that is read again brings them every time."""

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from pipelines.ingest.write import REJECTED, Batch
from pipelines.warehouse import Warehouse

BROADCAST_HASHES = 1_000_000
"""Up to so many hashes of quarantine (some 100 MB) go to every core; beyond, Spark joins by shuffle."""


def part_known(
    warehouse: Warehouse, refused: DataFrame, batch: Batch
) -> tuple[DataFrame, Observation | None]:
    """The refused rows that no other batch has in quarantine, and ``rows``: how many are left out.

    The latter is known once the former are written, and None where quarantine is empty.

    A row is known by its file and its payload, to the letter, whatever it is refused for. So a record of
    Kafka is known by topic, partition and offset, and equal lines of two files stay two. Equal lines of one
    file are all kept where one batch brings them; one that is added to the file later is taken for them. A
    row without payload, of an erased user, has nothing to be known by and is stored each time.
    """
    stored = warehouse.rows(REJECTED)
    if not stored:
        return refused, None
    others = (F.col("batch_id") != batch.batch_id) & F.col("raw").isNotNull()
    hashes = warehouse.read(REJECTED).where(others).select(_record_hash().alias("record")).distinct()
    hashes = hashes.withColumn("known", F.lit(True))
    if stored <= BROADCAST_HASHES:
        hashes = F.broadcast(hashes)
    marked = refused.withColumn("record", _record_hash()).join(hashes, "record", "left")
    seen = Observation()
    new = marked.observe(seen, F.count_if("known").alias("rows")).where(F.col("known").isNull())
    return new.select(*refused.columns), seen


def _record_hash() -> Column:
    """md5 of a row's file and payload, null without payload; a file's name, a URI, holds no line break."""
    return F.when(F.col("raw").isNotNull(), F.md5(F.concat_ws("\n", "file", "raw")))
