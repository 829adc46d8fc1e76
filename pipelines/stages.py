"""The stages of a build in order: bronze, vocabulary, fit, silver, gold, with a gate after each layer."""

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from features.spec import SequenceSpec
from pipelines.bronze import make_bronze, make_vocabulary
from pipelines.encode import encode, partition_count
from pipelines.errors import SourceError
from pipelines.evidence import measure_evidence
from pipelines.fit_stage import FittedRun, learn_fit, published_fit
from pipelines.gates import event_totals
from pipelines.increment import touched_users, why_not
from pipelines.ingest import IngestResult
from pipelines.instants import from_micros
from pipelines.layers import USERS, make_tables, sequence_spec, session_figures
from pipelines.outcome import Outcome
from pipelines.recency import last_hours, place_by_recency, visible_users
from pipelines.rules import session_rule
from pipelines.run_context import Run
from pipelines.work import Work

if TYPE_CHECKING:
    from pipelines.build import BuildRequest


def build_tables(run: Run, request: "BuildRequest", outcome: Outcome) -> None:
    """Write every table of a run and judge it; raises before anything is published."""
    ingested = make_bronze(run, request, outcome)
    events = run.warehouse.read("bronze/events")
    as_of = _as_of(run, request, ingested, outcome)
    outcome.as_of = as_of
    outcome.extra["as_of"] = as_of.isoformat()
    make_vocabulary(run, events, outcome)
    spec = outcome.spec = sequence_spec(run, outcome)
    fitted = published_fit(run, request)
    reason = "a new fit" if fitted is None else why_not(run, request, as_of, spec)
    if fitted is None or reason is not None:
        run.progress.say(f"all rows are made anew: {reason}")
        outcome.extra["made_anew"] = reason
        _everything(run, request, outcome, events, fitted)
    else:
        _note_fit(outcome, fitted)
        _increment(run, outcome, events, fitted, spec)


def _everything(
    run: Run, request: "BuildRequest", outcome: Outcome, events: DataFrame, fitted: FittedRun | None
) -> None:
    """All rows of all users."""
    as_of, spec = outcome.as_of, outcome.spec
    assert as_of is not None and spec is not None
    users = visible_users(events, as_of).persist()
    ordered = _ordered(run, events, users, as_of)
    try:
        with run.progress.stage("sort by user") as stage:
            totals = outcome.measured("totals", partial(event_totals, events, users, as_of))
            ordered.count()
            stage.say("{events:,} events of {users:,} users".format(**totals))
            stage.say(f"before {as_of.isoformat()}")
        fitted = fitted or learn_fit(run, ordered, events.where(F.col("ts") < F.lit(as_of)), as_of)
        _note_fit(outcome, fitted)
        work = Work(ordered, totals, starts_over=request.full_refresh)
        make_tables(run, outcome, work, fitted, spec)
        with run.progress.stage("evidence for hopping"):
            people, rule = run.warehouse.read(USERS), session_rule(run.config)
            outcome.extra["evidence"] = measure_evidence(ordered, people, rule, fitted.themes.table)
    finally:
        ordered.unpersist()
        users.unpersist()


def _increment(run: Run, outcome: Outcome, events: DataFrame, fitted: FittedRun, spec: SequenceSpec) -> None:
    """The rows that new events change."""
    assert outcome.as_of is not None
    with touched_users(run, events, outcome.as_of) as work:
        if work is None:
            run.progress.say("no user is touched: the tables stay as they are")
            outcome.metrics["silver"] = session_figures(run, outcome)
            return
        run.progress.say("{users:,} users are touched; {events:,} events to pass over".format(**work.totals))
        make_tables(run, outcome, work, fitted, spec)


def _note_fit(outcome: Outcome, fitted: FittedRun) -> None:
    outcome.fit_id = fitted.fit_id
    outcome.counts["themes"] = len(fitted.themes.theme_ids)
    outcome.extra |= {"fit_id": fitted.fit_id, "fit": fitted.notes}


def _as_of(run: Run, request: "BuildRequest", ingested: IngestResult, outcome: Outcome) -> datetime:
    """The given time, else just after the newest event: then everything is published."""
    if request.as_of is not None:
        return request.as_of
    newest = int(outcome.metrics["bronze"]["newest_us"])
    if not newest:
        raise SourceError(
            f"{run.config.source.path}: not one of {ingested.events_in:,} rows was accepted "
            f"({', '.join(f'{n:,} {reason}' for reason, n in ingested.rejected.items())}); "
            "see bronze/events_rejected or try --dry-run"
        )
    return from_micros(newest + 1)


def _ordered(run: Run, events: DataFrame, users: DataFrame, as_of: datetime) -> DataFrame:
    """Encoded events in whole users' order, kept on disk: every later pass reads them once more."""
    cores = run.spark.sparkContext.defaultParallelism
    hours = last_hours(users)
    partitions = partition_count(sum(hour.events for hour in hours), run.config.spark, cores)
    encoded = encode(events, run.warehouse, as_of)
    return place_by_recency(encoded, users, hours, partitions).persist(StorageLevel.DISK_ONLY)
