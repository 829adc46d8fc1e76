"""Write a deduplicated batch to bronze and say what the tables hold of it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import deltalake
from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from pipelines.ingest.reasons import REASONS
from pipelines.instants import to_micros
from pipelines.warehouse import Warehouse

EVENTS: Final = "bronze/events"
REJECTED: Final = "bronze/events_rejected"


@dataclass(frozen=True)
class Batch:
    """The stamp on a batch's rows.

    ``replaces_all``: both tables are built anew; ``retries``: the rows were refused before, so that those
    which still are replace all of ``events_rejected``.
    """

    batch_id: str
    ingested_at: datetime
    replaces_all: bool = False
    retries: bool = False

    def columns(self) -> list[Column]:
        """``ingested_at`` and ``batch_id``."""
        at = F.timestamp_micros(F.lit(to_micros(self.ingested_at)).cast("bigint"))
        return [at.alias("ingested_at"), F.lit(self.batch_id).alias("batch_id")]


def write_events(warehouse: Warehouse, new: DataFrame, batch: Batch) -> int:
    """Write typed events that bronze does not hold; rows written, by Delta's own count."""
    ts = F.timestamp_micros("ts_us")
    rows = new.select(
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
    before = warehouse.version(EVENTS) if warehouse.exists(EVENTS) else -1
    if batch.replaces_all:
        warehouse.overwrite(rows, EVENTS)
    else:
        warehouse.append(rows, EVENTS)
    return warehouse.rows_written(EVENTS, before)


def newest_event(root: str) -> datetime | None:
    """The largest ts of ``bronze/events``, to the millisecond, from the log's statistics alone."""
    actions = deltalake.DeltaTable(f"{root}/{EVENTS}").get_add_actions(flatten=True)
    largest = [at for at in actions.column("max.ts").to_pylist() if at is not None]
    return max(largest).replace(tzinfo=UTC) if largest else None


def write_rejected(warehouse: Warehouse, refused: DataFrame, batch: Batch, some: bool) -> dict[str, int]:
    """Write the batch's refused rows in place of its earlier ones; what was written, by reason.

    ``some`` is whether there may be any: where not, the source is not read again.
    """
    rows = refused.select("raw", "reason", "file", *batch.columns(), "layout")
    rows = rows.coalesce(8) if some else rows.limit(0)
    seen = Observation()
    rows = rows.observe(seen, *(F.count_if(F.col("reason") == reason).alias(reason) for reason in REASONS))
    own = F.col("batch_id") == batch.batch_id
    if batch.replaces_all or batch.retries:
        warehouse.overwrite(rows, REJECTED)
    elif not warehouse.exists(REJECTED):
        warehouse.append(rows, REJECTED)
    elif not warehouse.read(REJECTED).where(own).isEmpty():
        quoted = batch.batch_id.replace("\\", "\\\\").replace("'", "\\'")
        warehouse.replace(rows, REJECTED, f"batch_id = '{quoted}'")
    elif some:
        warehouse.append(rows, REJECTED)
    counts = seen.get if some else {}
    return {reason: counts[reason] for reason in sorted(REASONS) if counts.get(reason)}
