"""Write a deduplicated batch to bronze and say what the tables hold of it."""

from dataclasses import dataclass
from datetime import datetime

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.instants import to_micros
from pipelines.warehouse import Warehouse

EVENTS = "bronze/events"
REJECTED = "bronze/events_rejected"


@dataclass(frozen=True)
class Batch:
    """The stamp on a batch's rows; ``replaces_all`` where the tables are built anew."""

    batch_id: str
    ingested_at: datetime
    replaces_all: bool = False

    def columns(self) -> list[Column]:
        """``ingested_at`` and ``batch_id``."""
        at = F.timestamp_micros(F.lit(to_micros(self.ingested_at)).cast("bigint"))
        return [at.alias("ingested_at"), F.lit(self.batch_id).alias("batch_id")]


def write_events(warehouse: Warehouse, single: DataFrame, batch: Batch, files: int) -> int:
    """Write the new events, in ``files`` files clustered by time; rows written, by Delta's own count."""
    ts = F.timestamp_micros("ts_us")
    new = single.where(F.col("reason").isNull() & ~F.col("known")).select(
        "event_id",
        "user_id",
        "item_id",
        "category_id",
        "event_type",
        F.col("mode").cast("int"),
        ts.alias("ts"),
        "sequence",
        "session_key",
        *batch.columns(),
        F.to_date(ts).alias("date"),
    )
    # Ranges of ts, not folders by date: a year of little data would be hundreds of tiny files.
    laid_out = new.repartitionByRange(files, "ts") if files > 1 else new.coalesce(1)
    if batch.replaces_all:
        warehouse.overwrite(laid_out, EVENTS)
    elif warehouse.exists(EVENTS) and new.isEmpty():
        return 0
    else:
        warehouse.append(laid_out, EVENTS)
    history = DeltaTable.forPath(warehouse.spark, warehouse.path(EVENTS)).history(1)
    return int(history.select("operationMetrics.numOutputRows").head(1)[0][0])


def write_rejected(warehouse: Warehouse, single: DataFrame, batch: Batch) -> dict[str, int]:
    """Write the batch's refused rows in place of its earlier ones; what the table now holds, by reason."""
    refused = (
        single.where(F.col("reason").isNotNull())
        .select("raw", "reason", "file", *batch.columns())
        .coalesce(8)
    )
    own = F.col("batch_id") == batch.batch_id
    if batch.replaces_all:
        warehouse.overwrite(refused, REJECTED)
    elif not warehouse.exists(REJECTED):
        warehouse.append(refused, REJECTED)
    elif not warehouse.read(REJECTED).where(own).isEmpty():
        quoted = batch.batch_id.replace("\\", "\\\\").replace("'", "\\'")
        warehouse.replace(refused, REJECTED, f"batch_id = '{quoted}'")
    elif not refused.isEmpty():
        warehouse.append(refused, REJECTED)
    by_reason = warehouse.read(REJECTED).where(own).groupBy("reason").count().collect()
    return {row[0]: row[1] for row in sorted(by_reason)}
