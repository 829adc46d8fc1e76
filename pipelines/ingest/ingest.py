"""The ingest stage: a source's records become bronze events, each counted exactly once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from pipelines.config.model import Config
from pipelines.encode import partition_count
from pipelines.errors import SeqloomError, SourceError
from pipelines.ingest.clean import clean
from pipelines.ingest.column_kinds import settled_kinds
from pipelines.ingest.deduplicate import deduplicate, in_time
from pipelines.ingest.event_ids import with_event_id
from pipelines.ingest.files import reading
from pipelines.ingest.items import add_categories, read_items
from pipelines.ingest.known import part_known
from pipelines.ingest.lateness import part_late
from pipelines.ingest.quarantine import read_quarantine
from pipelines.ingest.sources import read_source, source_records
from pipelines.ingest.suppression import reject_suppressed, strip_suppressed
from pipelines.ingest.survey import Survey, outside, take_survey
from pipelines.ingest.write import EVENTS, Batch, write_events, write_rejected
from pipelines.instants import to_micros
from pipelines.warehouse import Warehouse

BROADCAST_IDS: Final = 1_000_000
"""Up to so many ids of a batch (some 100 MB) go to every core."""


@dataclass(frozen=True)
class Intake:
    """What a run takes in: of the source, events in ``[start, end)``; or with ``retry`` what was refused.

    ``late_before``: a new event before this time is refused, unless it is retried: it came in time, and only
    what was refused as late stays so. ``full_refresh`` replaces both tables. ``column_kinds``: of what kind
    the values of a typed source's columns were so far.
    """

    start: datetime | None = None
    end: datetime | None = None
    late_before: datetime | None = None
    full_refresh: bool = False
    retry: bool = False
    column_kinds: Mapping[str, str] = field(default_factory=dict)


EVERYTHING: Final = Intake()
"""All events of the source, whenever they happened."""


@dataclass(frozen=True)
class IngestResult:
    """What became of a batch: ``events_in = kept + duplicates + sum(rejected)``, checked.

    ``refused_before`` of the duplicates are refused rows that an earlier batch has brought to quarantine.
    ``conflicts`` counts event ids that came with more than one payload. ``skipped`` rows lie outside
    the run's ``start`` and ``end`` and are not part of ``events_in``. ``min_ts`` and ``max_ts`` span
    the batch's valid events, duplicates included. ``column_kinds``: ``Intake``'s and this batch's.
    """

    events_in: int
    kept: int
    duplicates: int
    conflicts: int
    rejected: dict[str, int] = field(default_factory=dict)
    refused_before: int = 0
    skipped: int = 0
    min_ts: datetime | None = None
    max_ts: datetime | None = None
    column_kinds: dict[str, str] = field(default_factory=dict)


def ingest(
    warehouse: Warehouse, config: Config, batch_id: str, ingested_at: datetime, intake: Intake = EVERYTHING
) -> IngestResult:
    """Append the source's new events to ``bronze/events`` and its refused rows to ``events_rejected``.

    A run over the same input keeps nothing and counts duplicates, refused rows that quarantine holds among
    them (``part_known``); refused rows of the same ``batch_id`` are replaced. Where bronze holds an event id
    already, bronze keeps its row: what was published stays as it was, and another payload only counts as a
    conflict.

    A first build reads the source once to look at it, once for the events and, where rows were refused, once
    for these: cheaper than keeping a copy of it (measured). A day reads it again for the ids that bronze may
    hold, and for events that may be late.

    Raises SourceError, before anything is written, where the source cannot be read as configured.
    """
    spark, source = warehouse.spark, config.source
    read = read_quarantine(warehouse, source) if intake.retry else read_source(spark, source)
    batch = Batch(batch_id, ingested_at, replaces_all=intake.full_refresh, retries=intake.retry)
    return ingest_rows(warehouse, config, read, batch, intake)


def ingest_rows(
    warehouse: Warehouse, config: Config, read: DataFrame, batch: Batch, intake: Intake = EVERYTHING
) -> IngestResult:
    """``ingest`` of rows that were read already (as ``read_source`` gives them), such as a stream's."""
    spark, path = warehouse.spark, config.source.path
    checked = reject_suppressed(clean(read, config, batch.ingested_at), warehouse)
    anew = intake.full_refresh or not warehouse.exists(EVENTS)
    stored = None if anew else warehouse.read(EVENTS)
    with reading(path):
        kinds = settled_kinds(read, stored, source_records(config.source), intake.column_kinds)
        survey = take_survey(checked, intake.start, intake.end)
    _require_usable(survey, config)
    taken = checked.where(~outside(intake.start, intake.end))
    valid, refused = taken.where(F.col("reason").isNull()), taken.where(F.col("reason").isNotNull())
    source_ids = config.source.columns.event_id is not None
    cores = spark.sparkContext.defaultParallelism
    partitions = partition_count(survey.valid, config.spark, cores)
    bronze, dealt = (None, 0) if stored is None else _held(warehouse, stored, survey, valid, source_ids)
    some_refused, known = bool(survey.rejected), None
    limit = None if intake.retry else intake.late_before
    if limit and bronze is not None and survey.min_ts and survey.min_ts < limit:
        valid, late = part_late(valid, bronze, limit, source_ids)
        refused, some_refused = refused.unionByName(late), True
    if some_refused and not (batch.replaces_all or batch.retries):
        refused, known = part_known(warehouse, refused, batch)
    if config.items is not None:
        valid = add_categories(valid, read_items(spark, config.items))
    single = deduplicate(
        valid, bronze, partition_count(survey.valid + dealt, config.spark, cores), source_ids, survey.hours
    )
    if source_ids and partitions > 1:
        single = in_time(single, survey.hours, partitions)
    # Behind the last shuffle: what lies before one may run twice, and would be counted twice.
    seen = Observation()
    single = single.observe(
        seen,
        F.sum(F.when(F.col("known"), F.col("copies")).otherwise(F.col("copies") - 1)).alias("duplicates"),
        F.count_if("conflict").alias("conflicts"),
    )
    new = single.where(~F.col("known"))
    with reading(path):
        kept = write_events(warehouse, with_event_id(new, source_ids), batch)
        rejected = write_rejected(warehouse, strip_suppressed(refused, warehouse), batch, some_refused)
    refused_before = known.get["rows"] if known else 0
    result = IngestResult(
        events_in=survey.events,
        kept=kept,
        duplicates=(seen.get["duplicates"] or 0) + refused_before,
        conflicts=seen.get["conflicts"],
        rejected=rejected,
        refused_before=refused_before,
        skipped=survey.skipped,
        min_ts=survey.min_ts,
        max_ts=survey.max_ts,
        column_kinds=kinds,
    )
    _require_conservation(result, path)
    return result


def _held(
    warehouse: Warehouse, bronze: DataFrame, survey: Survey, valid: DataFrame, source_ids: bool
) -> tuple[DataFrame | None, int]:
    """Bronze's events that could share an id with the batch; and how many, where these are all of them."""
    if not survey.valid:
        return None, 0
    dealt = 0
    if source_ids and survey.valid <= BROADCAST_IDS:
        # Looked for in place: otherwise all of bronze would be shuffled.
        bronze = bronze.join(F.broadcast(valid.select("event_id")), "event_id", "left_semi")
    elif source_ids:
        dealt = warehouse.rows(EVENTS)
    elif survey.min_ts and survey.max_ts:
        # A derived id holds its time, so that files outside the batch's times need not be read.
        first, last = (
            F.timestamp_micros(F.lit(to_micros(at)).cast("bigint")) for at in (survey.min_ts, survey.max_ts)
        )
        bronze = bronze.where(F.col("ts").between(first, last))
    return bronze.withColumn("ts_us", F.unix_micros("ts")), dealt


def _require_usable(survey: Survey, config: Config) -> None:
    """SourceError for a source without rows, or one whose clock the session rule cannot use."""
    path = config.source.path
    if survey.rows == 0:
        raise SourceError(f"{path}: no rows; set source.path to a source with events")
    if config.source.clock == "real" and config.sessions.rule == "gap" and survey.tells_days_only:
        raise SourceError(
            f"{path}: all {survey.valid} times are midnights, so the clock tells days only and gaps "
            "mean nothing; set source.clock = 'ordinal', sessions.rule = 'every_n' and sessions.every_n"
        )


def _require_conservation(result: IngestResult, path: str) -> None:
    rejected = sum(result.rejected.values())
    placed = result.kept + result.duplicates + rejected
    if placed != result.events_in:
        raise SeqloomError(
            f"{path}: {result.events_in} rows in, but {result.kept} kept + {result.duplicates} duplicates + "
            f"{rejected} rejected = {placed}; the source changed while it was read, or seqloom has a "
            "bug: run again"
        )
