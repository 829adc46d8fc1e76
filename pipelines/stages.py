"""The stages of a build in order: bronze, vocabulary, fit, silver, gold, with a gate after each layer."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from features.spec import SequenceSpec
from pipelines.encode import encode, order_by_user, partition_count
from pipelines.errors import SourceError
from pipelines.evidence import measure_evidence
from pipelines.fit.learning import vector_coverage
from pipelines.fit_stage import FittedRun, fit_stage
from pipelines.gates import (
    Check,
    GateReport,
    bronze_checks,
    bronze_metrics,
    data_docs_folder,
    drift_checks,
    drift_metrics,
    event_totals,
    gold_checks,
    gold_metrics,
    require,
    run_gates,
    sessions_checks,
    sessions_metrics,
    vocabulary_checks,
    vocabulary_metrics,
)
from pipelines.ingest import IngestResult, ingest
from pipelines.instants import from_micros
from pipelines.rules import session_rule, user_rule
from pipelines.run_context import Run
from pipelines.runs import run_metrics
from pipelines.user_pass import UserPass
from pipelines.vocabulary import extend_vocabularies

if TYPE_CHECKING:
    from pipelines.build import BuildRequest

VOCABULARIES = ("items", "categories", "event_types")


@dataclass
class Outcome:
    """What a run has found out so far; a failed run records it as far as it came."""

    counts: dict[str, Any] = field(default_factory=dict)
    gates: dict[str, bool] = field(default_factory=dict)
    gate_failures: list[str] = field(default_factory=list)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    as_of: datetime | None = None
    fit_id: str | None = None
    spec: SequenceSpec | None = None

    def judge(self, report: GateReport) -> None:
        """Keep a layer's verdict; GateError where it failed."""
        self.gates |= report.passed
        self.gate_failures += report.failures
        require(report)

    def metrics_json(self) -> str:
        """What the gates measured, for the next run's drift."""
        return json.dumps(self.metrics)

    def evidence_json(self) -> str | None:
        """The evidence for hopping, where it was measured."""
        evidence = self.extra.get("evidence")
        return None if evidence is None else json.dumps(evidence)


def build_tables(run: Run, request: "BuildRequest", outcome: Outcome) -> None:
    """Write every table of a run and judge it; raises before anything is published."""
    ingested = _bronze(run, request, outcome)
    events = run.warehouse.read("bronze/events")
    as_of = _as_of(run, request, ingested, events)
    outcome.as_of = as_of
    outcome.extra["as_of"] = as_of.isoformat()
    _vocabulary(run, events, outcome)
    ordered = _ordered(run, events, as_of)
    try:
        with run.progress.stage("sort by user") as stage:
            visible = ordered.count()
            stage.say(f"{visible:,} events before {as_of.isoformat()}")
        before = events.where(F.col("ts") < F.lit(as_of))
        fitted = fit_stage(run, request, ordered, before, as_of)
        outcome.fit_id = fitted.fit_id
        outcome.counts["themes"] = len(fitted.themes.theme_ids)
        outcome.extra |= {"fit_id": fitted.fit_id, "fit": fitted.notes}
        _silver(run, outcome, ordered, fitted, events)
        _gold(run, outcome, ordered, fitted)
        with run.progress.stage("evidence for hopping"):
            users = run.warehouse.read("silver/users")
            rule = session_rule(run.config)
            outcome.extra["evidence"] = measure_evidence(ordered, users, rule, fitted.themes.table)
    finally:
        ordered.unpersist()


def _bronze(run: Run, request: "BuildRequest", outcome: Outcome) -> IngestResult:
    with run.progress.stage("ingest") as stage:
        result = ingest(
            run.warehouse,
            run.config,
            run.run_id,
            run.started_at,
            start=request.start,
            end=request.end,
            full_refresh=request.full_refresh,
        )
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
    outcome.extra |= {"conflicts": result.conflicts, "skipped": result.skipped}
    with run.progress.stage("bronze gates"):
        window = run.config.source.window
        metrics = bronze_metrics(
            run.warehouse.read("bronze/events"),
            run.warehouse.read("bronze/events_rejected"),
            rows_in=result.events_in,
            kept=result.kept,
            duplicates=result.duplicates,
            rows_rejected=refused,
            window_start=window.start,
            window_end=window.end,
            batch=F.col("batch_id") == run.run_id,
        )
        _judge(run, outcome, "bronze", metrics, bronze_checks(run.config.gates))
    return result


def _as_of(run: Run, request: "BuildRequest", ingested: IngestResult, events: DataFrame) -> datetime:
    """The given time, else just after the newest event: then everything is published."""
    if request.as_of is not None:
        return request.as_of
    newest = events.agg(F.max(F.unix_micros("ts"))).head(1)[0][0]
    if newest is None:
        raise SourceError(
            f"{run.config.source.path}: not one of {ingested.events_in:,} rows was accepted "
            f"({', '.join(f'{n:,} {reason}' for reason, n in ingested.rejected.items())}); "
            "see bronze/events_rejected or try --dry-run"
        )
    return from_micros(newest + 1)


def _vocabulary(run: Run, events: DataFrame, outcome: Outcome) -> None:
    with run.progress.stage("vocabulary") as stage:
        extend_vocabularies(run.warehouse, events)
        metrics: dict[str, float] = {}
        for name in VOCABULARIES:
            metrics |= vocabulary_metrics(run.warehouse.read(f"silver/{name}"), name, "id")
        stage.say(", ".join(f"{metrics[f'{name}_ids']:,} {name.replace('_', ' ')}" for name in VOCABULARIES))
    _judge(run, outcome, "vocabulary", metrics, vocabulary_checks(VOCABULARIES))


def _ordered(run: Run, events: DataFrame, as_of: datetime) -> DataFrame:
    """Encoded events in whole users' order, kept on disk: every later pass reads them once more."""
    cores = run.spark.sparkContext.defaultParallelism
    partitions = partition_count(events.count(), run.config.spark, cores)
    encoded = encode(events, run.warehouse, as_of)
    return order_by_user(encoded, partitions).persist(StorageLevel.DISK_ONLY)


def _silver(run: Run, outcome: Outcome, ordered: DataFrame, fitted: FittedRun, events: DataFrame) -> None:
    warehouse, as_of = run.warehouse, outcome.as_of
    assert as_of is not None
    with run.progress.stage("sessions, hops and returns") as stage:
        both = user_pass(run, fitted).sessions_and_users(ordered).persist(StorageLevel.DISK_ONLY)
        try:
            warehouse.overwrite(both.where("session IS NOT NULL").select("session.*"), "silver/sessions")
            warehouse.overwrite(both.where("user IS NOT NULL").select("user.*"), "silver/users")
        finally:
            both.unpersist()
        sessions = warehouse.read("silver/sessions")
        totals = event_totals(events, as_of)
        metrics = sessions_metrics(
            sessions,
            totals=totals,
            as_of=as_of,
            theme_ids=fitted.themes.theme_ids.tolist(),
            train_end=fitted.train_end,
        )
        flagged = warehouse.read("silver/users").agg(F.count_if("is_heavy"), F.count_if("is_bot")).head(1)[0]
        counts = sessions.agg(
            F.count_if("is_hop"), F.count_if("is_return"), F.count_if(F.col("is_hop").isNull())
        )
        hops, returns, undecided = counts.head(1)[0]
        stage.say(f"{metrics['sessions']:,} sessions of {totals['users']:,} users")
        stage.say(f"{hops:,} hops, {returns:,} returns, {undecided:,} undecided")
        if flagged[0] or flagged[1]:
            stage.say(f"{flagged[0]:,} heavy users, {flagged[1]:,} bots")
    outcome.metrics["totals"] = dict(totals)
    outcome.counts |= {
        "users": int(totals["users"]),
        "sessions": int(metrics["sessions"]),
        "hops": hops,
        "returns": returns,
    }
    outcome.extra |= {
        "undecided": undecided,
        "heavy_users": flagged[0],
        "bots": flagged[1],
        "vector_coverage": vector_coverage(sessions),
    }
    with run.progress.stage("silver gates"):
        _judge(run, outcome, "silver", metrics, sessions_checks(run.config.gates))
        earlier = run.pointer and run_metrics(run.config.warehouse, run.pointer.run_id)
        drift = drift_metrics(metrics, earlier["silver"] if earlier else None)
        _judge(run, outcome, "drift", drift, drift_checks(run.config.gates))


def _gold(run: Run, outcome: Outcome, ordered: DataFrame, fitted: FittedRun) -> None:
    warehouse, as_of = run.warehouse, outcome.as_of
    assert as_of is not None
    with run.progress.stage("sequences") as stage:
        spec = sequence_spec(run)
        outcome.spec = spec
        rows = user_pass(run, fitted).sequences(ordered, spec)
        warehouse.overwrite(rows, "gold/user_sequences", partition_by=("length_bucket",))
        sequences = warehouse.read("gold/user_sequences")
        metrics = gold_metrics(
            sequences,
            spec,
            as_of=as_of,
            largest={
                kind: int(outcome.metrics["vocabulary"][f"{table}_ids"]) + 1
                for kind, table in (("item", "items"), ("category", "categories"), ("type", "event_types"))
            },
            totals=outcome.metrics["totals"],
        )
        stage.say(f"{metrics['rows']:,} rows")
    outcome.counts["rows_written"] = int(metrics["rows"])
    with run.progress.stage("gold gates"):
        _judge(run, outcome, "gold", metrics, gold_checks(run.config.gates))


def sequence_spec(run: Run) -> SequenceSpec:
    """The configured spec less the families that are constant in this source."""
    constant = []
    if run.warehouse.read("silver/categories").limit(2).count() < 2:
        constant.append("category")
    if run.warehouse.read("silver/event_types").select("mode").distinct().count() < 2:
        constant.append("mode")
    if constant:
        run.progress.say(f"strand families left out, constant in this source: {', '.join(constant)}")
    return run.config.sequences.spec().without(*constant)


def user_pass(run: Run, fitted: FittedRun) -> UserPass:
    """The pass over users under this run's rules and fit."""
    return UserPass(session_rule(run.config), user_rule(run.config), fitted.broadcast(run.spark))


def _judge(
    run: Run, outcome: Outcome, layer: str, metrics: Mapping[str, float], checks: Sequence[Check]
) -> None:
    outcome.metrics[layer] = dict(metrics)
    docs = data_docs_folder(run.config.warehouse)
    report = run_gates(layer, metrics, checks, run_id=run.run_id, docs_folder=docs)
    for note in report.notes:
        run.progress.say(note)
    seconds = outcome.extra.setdefault("gate_seconds", {})
    seconds[layer] = round(report.seconds, 3)
    outcome.judge(report)
