"""The silver and gold layers of a run: rows written, measured and judged."""

from contextlib import nullcontext
from datetime import datetime
from functools import partial
from typing import Any, Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from features.codes import MODES
from features.spec import SequenceSpec
from pipelines.fit_stage import FittedRun
from pipelines.gates import (
    RowCheck,
    drift_checks,
    drift_metrics,
    gold_checks,
    gold_metrics,
    sessions_checks,
    sessions_metrics,
)
from pipelines.increment import STATE_TABLE
from pipelines.instants import to_micros
from pipelines.outcome import Outcome
from pipelines.reading import read_table
from pipelines.rules import session_rule, user_rule
from pipelines.run_context import Run
from pipelines.runs import run_metrics
from pipelines.side_by_side import side_by_side
from pipelines.user_pass import UserPass, sequences_of
from pipelines.work import Work
from pipelines.workers import batches_by_rows

SESSIONS, USERS, SEQUENCES = "silver/sessions", "silver/users", "gold/user_sequences"
SUPERSEDED = "silver/superseded_sessions"
SOURCES: Final = ("item", "category", "none")
"""Where an event's vector comes from."""


def make_tables(run: Run, outcome: Outcome, work: Work, fitted: FittedRun, spec: SequenceSpec) -> None:
    """The silver and gold tables of one pass over users."""
    passing = UserPass(session_rule(run.config), user_rule(run.config), fitted.broadcast(run.spark))
    with run.progress.stage("pass over users"):
        made = passing.tables(work.ordered, spec).persist(StorageLevel.DISK_ONLY)
        # A day's rows bring stored states, which are wide.
        with batches_by_rows(run.spark) if work.kept is None else nullcontext():
            made.count()
    try:
        _make_silver(run, outcome, work, made, fitted)
        _make_gold(run, outcome, work, made, spec)
    finally:
        made.unpersist()


def _make_silver(run: Run, outcome: Outcome, work: Work, made: DataFrame, fitted: FittedRun) -> None:
    """Sessions with hops and returns, and users."""
    warehouse, as_of = run.warehouse, outcome.as_of
    assert as_of is not None
    with run.progress.stage("sessions, hops and returns") as stage:
        sessions = _of(made, "session")
        old = _made_anew(run, work, as_of)
        if old is not None:
            run.warehouse.append(superseded(old, sessions, _of(made, "user"), run.run_id), SUPERSEDED)
        work.put(warehouse, sessions, SESSIONS, "t.ordinal <= k.sessions")
        work.put(warehouse, _of(made, "user"), USERS, "false")
        measure = partial(
            sessions_metrics,
            warehouse.read(SESSIONS) if work.kept is None else sessions,
            totals=work.totals,
            as_of=as_of,
            theme_ids=fitted.themes.theme_ids.tolist(),
            train_end=fitted.train_end,
            kept=work.kept,
        )
        gates = partial(outcome.measured, "silver", measure)
        metrics, figures = side_by_side([gates, partial(session_figures, run, outcome)])
        stage.say(f"{figures['sessions']:,} sessions of {figures['users']:,} users")
        stage.say(
            "{hops:,} hops, {returns:,} returns, {undecided:,} undecided".format(
                **outcome.counts, **outcome.extra
            )
        )
    with run.progress.stage("silver gates"):
        outcome.judge(run, "silver", metrics, sessions_checks(run.config.gates))
        outcome.metrics["silver"] |= figures
        earlier = run.pointer and run_metrics(
            run.config.warehouse, run.pointer.built_by or run.pointer.run_id
        )
        drift = drift_metrics(figures, earlier.get("silver") if earlier else None)
        outcome.judge(run, "drift", drift, drift_checks(run.config.gates))


def session_figures(run: Run, outcome: Outcome) -> dict[str, float]:
    """What the whole tables of sessions and users amount to, for the summary and the next run's drift."""
    sources = [f"n_vectors_{source}" for source in SOURCES]
    sessions = run.warehouse.read(SESSIONS).agg(
        F.count("*").alias("sessions"),
        F.sum("n_events").alias("events"),
        *(F.sum(name).alias(name) for name in (*(f"n_{mode}" for mode in MODES), *sources)),
        F.count_if("is_hop").alias("hops"),
        F.count_if("is_return").alias("returns"),
        F.count_if(F.col("is_hop").isNull()).alias("undecided"),
    )
    users = run.warehouse.read(USERS).agg(
        F.count("*").alias("users"),
        F.count_if("is_heavy").alias("heavy_users"),
        F.count_if("is_bot").alias("bots"),
    )
    found, people = side_by_side([partial(_one, sessions), partial(_one, users)])
    outcome.counts |= {
        "users": people["users"],
        **{name: found[name] for name in ("sessions", "hops", "returns")},
    }
    vectors = [found[name] or 0 for name in sources]
    outcome.extra |= {
        "vector_coverage": {
            source: n / max(sum(vectors), 1) for source, n in zip(SOURCES, vectors, strict=True)
        },
        "undecided": found["undecided"],
        "heavy_users": people["heavy_users"],
        "bots": people["bots"],
    }
    names = ("sessions", "events", *(f"n_{mode}" for mode in MODES))
    return {"users": people["users"]} | {name: found[name] or 0 for name in names}


def _make_gold(run: Run, outcome: Outcome, work: Work, made: DataFrame, spec: SequenceSpec) -> None:
    """Sequences, and what a user's next event needs."""
    warehouse, as_of = run.warehouse, outcome.as_of
    assert as_of is not None
    with run.progress.stage("sequences") as stage:
        rows = sequences_of(made, spec)
        work.put(warehouse, rows, SEQUENCES, "t.chunk < k.chunks", by=("length_bucket",))
        tables = (("item", "items"), ("category", "categories"), ("type", "event_types"))
        counts = outcome.metrics["vocabulary"]
        largest = {kind: int(counts[f"{table}_ids"]) + 1 for kind, table in tables}
        check = RowCheck(spec, to_micros(as_of), largest)
        facts = check.of_table(warehouse, SEQUENCES) if work.kept is None else check.of_rows(rows)
        measure = partial(gold_metrics, facts, totals=work.totals, kept=work.kept)
        metrics = outcome.measured("gold", measure)
        stage.say(f"{metrics['rows']:,} rows")
    outcome.counts["rows_written"] = int(metrics["rows"])
    with run.progress.stage("gold gates"):
        outcome.judge(run, "gold", metrics, gold_checks(run.config.gates))
    with run.progress.stage("user states"):
        work.put(warehouse, _of(made, "state"), STATE_TABLE, "false")


def sequence_spec(run: Run, outcome: Outcome) -> SequenceSpec:
    """The configured spec less the families that are constant in this source."""
    constant = []
    if outcome.metrics["vocabulary"]["categories_ids"] < 2:
        constant.append("category")
    modes = read_table(run.warehouse.root, "silver/event_types", columns=["mode"]).column("mode")
    if len(modes.unique()) < 2:
        constant.append("mode")
    if constant:
        run.progress.say(f"strand families left out, constant in this source: {', '.join(constant)}")
    return run.config.sequences.spec().without(*constant)


def _of(made: DataFrame, name: str) -> DataFrame:
    """The rows of one table of the pass."""
    return made.where(F.col(name).isNotNull()).select(f"{name}.*")


def _made_anew(run: Run, work: Work, as_of: datetime) -> DataFrame | None:
    """Published sessions of users whose rows are all made anew; None where no id is to be kept of any.

    One that begins at or after ``as_of`` only waits: a later run makes it again, under its id.
    """
    version = None if run.pointer is None else run.pointer.versions.get(SESSIONS)
    if version is None or work.starts_over or (work.kept is not None and work.late is None):
        return None
    old = run.warehouse.read(SESSIONS, version).where(F.col("start_ts") < F.lit(as_of))
    return old if work.late is None else old.join(work.late, "user_id", "left_semi")


def superseded(old: DataFrame, sessions: DataFrame, users: DataFrame, run_id: str) -> DataFrame:
    """Ids of old sessions that late events did away with, of ``users`` who are still there."""
    gone = old.select("user_id", "session_id").join(sessions.select("session_id"), "session_id", "left_anti")
    present = gone.join(users.select("user_id"), "user_id", "left_semi")
    return present.select("user_id", "session_id", F.lit(run_id).alias("run_id"))


def _one(frame: DataFrame) -> dict[str, Any]:
    row = frame.head(1)[0]
    return dict(row.asDict())
