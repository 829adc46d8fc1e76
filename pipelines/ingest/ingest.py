"""The ingest stage: a source's records become bronze events, each counted exactly once."""

from dataclasses import dataclass, field
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.config.model import Config
from pipelines.encode import partition_count
from pipelines.errors import SeqloomError, SourceError
from pipelines.ingest.clean import clean, outside
from pipelines.ingest.deduplicate import deduplicate, payload_hash
from pipelines.ingest.files import reading
from pipelines.ingest.items import add_categories, read_items
from pipelines.ingest.sources import read_source
from pipelines.ingest.write import EVENTS, Batch, write_events, write_rejected
from pipelines.instants import from_micros
from pipelines.warehouse import Warehouse

DAY_US = 86_400_000_000
DAY_CLOCK_EVENTS = 100
"""Fewer events may all lie at midnight by chance or in an example."""


@dataclass(frozen=True)
class IngestResult:
    """What became of a batch: ``events_in = kept + duplicates + sum(rejected)``, checked.

    ``conflicts`` counts event ids that came with more than one payload. ``skipped`` rows lie outside
    the run's ``start`` and ``end`` and are not part of ``events_in``. ``min_ts`` and ``max_ts`` span
    the batch's valid events, duplicates included.
    """

    events_in: int
    kept: int
    duplicates: int
    conflicts: int
    rejected: dict[str, int] = field(default_factory=dict)
    skipped: int = 0
    min_ts: datetime | None = None
    max_ts: datetime | None = None


def ingest(
    warehouse: Warehouse,
    config: Config,
    batch_id: str,
    ingested_at: datetime,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    full_refresh: bool = False,
) -> IngestResult:
    """Append the source's new events to ``bronze/events`` and its refused rows to ``events_rejected``.

    A run over the same input keeps nothing and counts duplicates; refused rows of the same ``batch_id``
    are replaced. Where bronze holds an event id already, bronze keeps its row: what was published stays
    as it was, and another payload only counts as a conflict. ``full_refresh`` replaces both tables.

    Raises SourceError, before anything is written, where the source cannot be read as configured.
    """
    raw = read_source(warehouse.spark, config.source)
    with reading(config.source.path):
        records = raw.count()
    if records == 0:
        raise SourceError(f"{config.source.path}: no rows; set source.path to a source with events")
    checked = clean(raw, config, ingested_at)
    if config.items is not None:
        checked = add_categories(checked, read_items(warehouse.spark, config.items))
    skipped = 0
    if start is not None or end is not None:
        skipped = checked.where(outside(start, end)).count()
        checked = checked.where(~outside(start, end))
    partitions = partition_count(records, config.spark, warehouse.spark.sparkContext.defaultParallelism)
    known = None if full_refresh or not warehouse.exists(EVENTS) else _known_ids(warehouse)
    single = deduplicate(checked, known, partitions).persist()
    try:
        with reading(config.source.path):
            counts = _count(single)
        _require_clock(config, counts)
        batch = Batch(batch_id, ingested_at, replaces_all=full_refresh)
        kept = write_events(warehouse, single, batch, partitions)
        rejected = write_rejected(warehouse, single, batch)
    finally:
        single.unpersist()
    result = IngestResult(
        events_in=records - skipped,
        kept=kept,
        duplicates=counts.duplicates,
        conflicts=counts.conflicts,
        rejected=rejected,
        skipped=skipped,
        min_ts=counts.min_ts,
        max_ts=counts.max_ts,
    )
    _require_conservation(result, config.source.path)
    return result


@dataclass(frozen=True)
class _Counts:
    valid: int
    duplicates: int
    conflicts: int
    whole_days: int
    min_ts: datetime | None
    max_ts: datetime | None


def _known_ids(warehouse: Warehouse) -> DataFrame:
    bronze = warehouse.read(EVENTS).withColumn("ts_us", F.unix_micros("ts"))
    return bronze.select("event_id", payload_hash().alias("payload_hash"))


def _count(single: DataFrame) -> _Counts:
    """Counts over the valid events of a deduplicated batch, in one pass."""
    row = (
        single.where(F.col("reason").isNull())
        .agg(
            F.sum("copies"),
            F.sum(F.when(F.col("known"), F.col("copies")).otherwise(F.col("copies") - 1)),
            F.count_if("conflict"),
            F.sum(F.when(F.col("ts_us") % DAY_US == 0, F.col("copies"))),
            F.min("ts_us"),
            F.max("ts_us"),
        )
        .head(1)[0]
    )
    first, last = (None if micros is None else from_micros(micros) for micros in row[4:])
    return _Counts(row[0] or 0, row[1] or 0, row[2], row[3] or 0, first, last)


def _require_clock(config: Config, counts: _Counts) -> None:
    """SourceError where the gap rule would cut sessions by a clock that only tells the day."""
    if config.source.clock == "ordinal" or config.sessions.rule != "gap":
        return
    if counts.valid >= DAY_CLOCK_EVENTS and counts.whole_days == counts.valid:
        raise SourceError(
            f"{config.source.path}: all {counts.valid} times are midnights, so the clock tells days only and "
            "gaps mean nothing; set source.clock = 'ordinal', sessions.rule = 'every_n' and sessions.every_n"
        )


def _require_conservation(result: IngestResult, path: str) -> None:
    placed = result.kept + result.duplicates + sum(result.rejected.values())
    if placed != result.events_in:
        raise SeqloomError(
            f"{path}: {result.events_in} rows in, but {result.kept} kept + {result.duplicates} duplicates + "
            f"{sum(result.rejected.values())} rejected = {placed}; the source changed while it was read: "
            "run again, and report a bug if it stays"
        )
