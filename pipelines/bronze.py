"""The bronze layer of a run: events taken in, and their names."""

from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from features.durations import parse_duration
from pipelines.config import Config
from pipelines.gates import (
    Check,
    Metrics,
    bronze_checks,
    bronze_metrics,
    vocabulary_checks,
    vocabulary_metrics,
)
from pipelines.ingest import BROADCAST_IDS, IngestResult, Intake, ingest, newest_event
from pipelines.ingest.reasons import ERASED
from pipelines.ingest.write import EVENTS, REJECTED
from pipelines.outcome import Outcome
from pipelines.pointer import Published
from pipelines.run_context import Run
from pipelines.side_by_side import side_by_side
from pipelines.vocabulary import extend_vocabularies

if TYPE_CHECKING:
    from pipelines.build import BuildRequest

VOCABULARIES = ("items", "categories", "event_types")


def make_bronze(run: Run, request: "BuildRequest", outcome: Outcome) -> IngestResult:
    """Take in the source's events, or those that streams brought since the last build."""
    with run.progress.stage("ingest") as stage:
        result = _streamed(run) if request.from_bronze else _ingest(run, request)
        refused = sum(result.rejected.values())
        stage.say(
            f"{result.events_in:,} rows in = {result.kept:,} kept + {result.duplicates:,} duplicates "
            f"+ {refused:,} rejected"
        )
    outcome.counts |= {
        "events_in": result.events_in,
        "events_kept": result.kept,
        "duplicates": result.duplicates,
        "rejected": dict(result.rejected),
    }
    outcome.column_kinds = result.column_kinds
    outcome.extra |= {
        "conflicts": result.conflicts,
        "skipped": result.skipped,
        "refused_before": result.refused_before,
    }
    with run.progress.stage("bronze gates"):
        window = run.config.source.window
        measure = partial(
            bronze_metrics,
            run.warehouse.read("bronze/events"),
            run.warehouse.read("bronze/events_rejected"),
            rows_in=result.events_in,
            kept=result.kept,
            duplicates=result.duplicates,
            rows_rejected=refused,
            rows_erased=result.rejected.get(ERASED, 0),
            refused_before=result.refused_before,
            window_start=window.start,
            window_end=window.end,
            batch=run.is_streamed() if request.from_bronze else F.col("batch_id") == run.run_id,
            proven=run.pointer is not None and not request.full_refresh and result.kept <= BROADCAST_IDS,
        )
        metrics = outcome.measured("bronze", measure)
        outcome.judge(run, "bronze", metrics, _checks(run.config, request))
    return result


def _checks(config: Config, request: "BuildRequest") -> list[Check]:
    """Bronze's checks, less those of a whole source's rows where none was read.

    Between two builds a stream may bring nothing; what is tried again was refused and judged before.
    """
    left_out = {"enough_events"} if request.from_bronze or request.retry_rejected else set()
    if request.retry_rejected:
        left_out.add("rejected_share")
    return [check for check in bronze_checks(config.gates) if check.name not in left_out]


def _ingest(run: Run, request: "BuildRequest") -> IngestResult:
    intake = Intake(
        request.start,
        request.end,
        late_before(run, request),
        full_refresh=request.full_refresh,
        retry=request.retry_rejected,
        column_kinds={} if request.full_refresh else kinds_so_far(run),
    )
    return ingest(run.warehouse, run.config, run.run_id, run.started_at, intake)


def _streamed(run: Run) -> IngestResult:
    """What streams brought since the last build."""
    events, rejected = (run.warehouse.read(table).where(run.is_streamed()) for table in (EVENTS, REJECTED))
    by_reason = {row[0]: row[1] for row in sorted(rejected.groupBy("reason").count().collect())}
    positions = [] if run.pointer is None else run.pointer.streams.values()
    duplicates, kept = sum(position.duplicates for position in positions), events.count()
    return IngestResult(
        events_in=kept + duplicates + sum(by_reason.values()),
        kept=kept,
        duplicates=duplicates,
        conflicts=sum(position.conflicts for position in positions),
        rejected=by_reason,
        column_kinds=kinds_so_far(run),
    )


def kinds_so_far(run: Run) -> dict[str, str]:
    """Of what kind the columns of the published events in bronze were."""
    return {} if run.pointer is None else run.pointer.column_kinds


def late_before(run: Run, request: "BuildRequest") -> datetime | None:
    """Before which a new event is too late: never in a run over given days or one that starts over."""
    given = request.start or request.end or request.full_refresh
    return None if given else lateness_limit(run.pointer, run.config, run.started_at)


def lateness_limit(pointer: Published | None, config: Config, now: datetime) -> datetime | None:
    """Before which a new event is too late for what is published; None where nothing is.

    A watermark after ``now``, left by a run whose clock was ahead, makes nothing late.
    """
    if pointer is None or pointer.watermark is None or config.source.clock == "ordinal":
        return None
    return min(pointer.watermark, now) - timedelta(
        microseconds=parse_duration(config.ingest.allowed_lateness)
    )


def watermark(run: Run) -> datetime | None:
    """How far events are known, by the newest one of bronze."""
    before = None if run.pointer is None else run.pointer.watermark
    return later_watermark(before, newest_event(run.config.warehouse), run.started_at)


def later_watermark(before: datetime | None, newest: datetime | None, now: datetime) -> datetime | None:
    """The watermark after a run: its newest event's time, no later than its clock, or where it was before.

    A clock that is behind does not take it back.
    """
    known = [at for at in (before, newest and min(newest, now)) if at is not None]
    return max(known, default=None)


def make_vocabulary(run: Run, events: DataFrame, outcome: Outcome) -> None:
    """Name the ids of the new events."""
    with run.progress.stage("vocabulary") as stage:
        extend_vocabularies(run.warehouse, events.where(run.is_new()))
        read = run.warehouse.read

        def measure() -> Metrics:
            tables = [
                partial(vocabulary_metrics, read(f"silver/{name}"), name, "id") for name in VOCABULARIES
            ]
            return {name: value for own in side_by_side(tables) for name, value in own.items()}

        metrics = outcome.measured("vocabulary", measure)
        stage.say(", ".join(f"{metrics[f'{name}_ids']:,} {name.replace('_', ' ')}" for name in VOCABULARIES))
    outcome.judge(run, "vocabulary", metrics, vocabulary_checks(VOCABULARIES))
