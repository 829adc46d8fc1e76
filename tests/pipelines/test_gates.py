"""The gates: silent on sound tables, and each one shown to fail on a broken one."""

import math
import socket
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf

from features.checks import RULES
from features.chunks import arrow_schema, chunk_block
from features.tags import sessions_arrow_schema
from pipelines.config.model import Gates
from pipelines.errors import GateError
from pipelines.gates import (
    Check,
    GateReport,
    RowCheck,
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
from pipelines.instants import to_micros
from pipelines.recency import visible_users
from pipelines.warehouse import Warehouse
from tests.features.tagged import blocks, history, small_spec

START = datetime(2026, 11, 20, tzinfo=UTC)
AS_OF = START + timedelta(seconds=100)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def table(spark: SparkSession, rows: list[tuple[Any, ...]], ddl: str) -> DataFrame:
    return spark.createDataFrame(rows, ddl).coalesce(1)


def judge(layer: str, metrics: dict[str, float], checks: list[Check], **options: Any) -> GateReport:
    return run_gates(layer, metrics, checks, run_id="run-1", **options)


def failed(report: GateReport) -> set[str]:
    return {name for name, passed in report.passed.items() if not passed}


# bronze ---------------------------------------------------------------------------------------

EVENTS = "event_id string, user_id string, item_id string, ts timestamp, batch_id string"


def test_bronze_passes_when_every_row_is_accounted_for(spark: SparkSession) -> None:
    events = table(
        spark,
        [
            ("e1", "u", "i", at(0), "b1"),  # at the window's start: inside
            ("e2", "u", "i", at(99.999999), "b2"),  # just before its end: inside
        ],
        EVENTS,
    )
    rejected = table(spark, [("b1",), ("b2",)], "batch_id string")
    metrics = bronze_metrics(
        events,
        rejected,
        rows_in=5,
        kept=1,
        duplicates=3,
        rows_rejected=1,
        window_start=at(0),
        window_end=at(100),
        batch=sf.col("batch_id") == "b2",
    )
    assert metrics["rejected_share"] == 0.2
    report = judge("bronze", metrics, bronze_checks(Gates(max_rejected_share=0.2)))
    assert report.ok and len(report.passed) == 11
    require(report)


@pytest.mark.parametrize(
    ("counts", "valid", "share"),
    [
        ({"rows_in": 12, "kept": 9, "duplicates": 0, "rows_rejected": 3, "rows_erased": 2}, 9, 0.1),
        (
            {"rows_in": 10, "kept": 0, "duplicates": 8, "rows_rejected": 2, "rows_erased": 1}
            | {"refused_before": 5},
            3,
            0.25,
        ),
    ],
)
def test_rows_erased_or_refused_before_are_no_fault_of_this_source(
    spark: SparkSession, counts: dict[str, int], valid: int, share: float
) -> None:
    metrics = bronze_metrics(table(spark, [], EVENTS), table(spark, [("b",)], "batch_id string"), **counts)
    assert metrics["rows_unaccounted"] == 0
    assert metrics["rows_valid"] == valid and metrics["rejected_share"] == share


@pytest.mark.parametrize(
    ("new", "repeated"),
    [(["e3", "e4"], 0), (["e3", "e3"], 1), (["e1", "e3"], 1), (["e1", "e1"], 2), ([None, "e3"], 0), ([], 0)],
)
def test_a_day_s_ids_are_held_against_each_other_and_against_all_earlier_ones(
    spark: SparkSession, new: list[str | None], repeated: int
) -> None:
    rows = [
        (name, "u", "i", at(1), batch) for batch, ids in (("b1", ["e1", "e2"]), ("b2", new)) for name in ids
    ]
    metrics = bronze_metrics(
        table(spark, rows, EVENTS),
        table(spark, [], "batch_id string"),
        rows_in=len(new),
        kept=len(new),
        duplicates=0,
        rows_rejected=0,
        batch=sf.col("batch_id") == "b2",
        proven=True,
    )
    assert metrics["repeated_event_ids"] == repeated and metrics["kept_not_stored"] == 0
    assert metrics["null_event_id"] == new.count(None)


def test_each_bronze_figure_counts_its_own_fault(spark: SparkSession) -> None:
    events = table(
        spark,
        [
            ("e1", "u", "i", at(1), "b"),
            ("e1", "u", "i", at(1), "b"),  # the same id again
            (None, "u", "i", at(1), "b"),
            ("e4", "", "i", at(1), "b"),  # an empty user
            ("e5", "u", None, at(1), "b"),
            ("e6", "u", "i", None, "b"),
            ("e7", "u", "i", at(100), "b"),  # at the window's end: outside
            ("e8", "u", "i", at(-0.000001), "b"),
        ],
        EVENTS,
    )
    rejected = table(spark, [("b",), ("b",)], "batch_id string")
    metrics = bronze_metrics(
        events,
        rejected,
        rows_in=20,
        kept=9,
        duplicates=4,
        rows_rejected=5,
        window_start=at(0),
        window_end=at(100),
    )
    assert metrics == {
        "rows_in": 20,
        "rows_valid": 13,
        "rows_unaccounted": 2,
        "kept_not_stored": 1,
        "rejected_not_stored": 3,
        "rejected_share": 0.25,
        "repeated_event_ids": 1,
        "null_event_id": 1,
        "null_user_id": 1,
        "null_item_id": 1,
        "null_ts": 1,
        "outside_window": 2,
        "newest_us": int(at(100).timestamp() * 1e6),
    }
    checks = bronze_checks(Gates(min_events=14))
    assert failed(judge("bronze", metrics, checks)) == {f"bronze.{check.name}" for check in checks}


# vocabulary -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "fails"),
    [
        ([("a", 2), ("b", 4), ("c", 3)], set()),
        ([], set()),
        ([("a", 2), ("b", 4)], {"indices_dense"}),
        ([("a", 3), ("b", 4)], {"indices_dense"}),
        ([("a", 1), ("b", 2)], {"indices_dense"}),
        ([("a", 2), ("a", 3)], {"ids_unique"}),
        ([("a", 2), ("b", 2), ("c", 4)], {"indices_unique"}),
        ([("a", 2), (None, 3)], {"complete"}),
        ([("a", 2), ("b", None)], {"complete", "indices_dense"}),
    ],
)
def test_vocabulary_holds_n_ids_at_2_to_n_plus_1(
    spark: SparkSession, rows: list[tuple[Any, ...]], fails: set[str]
) -> None:
    metrics = vocabulary_metrics(table(spark, rows, "id string, index int"), "items", "id")
    assert metrics["items_ids"] == len(rows)
    report = judge("vocabulary", metrics, vocabulary_checks(["items"]))
    assert failed(report) == {f"vocabulary.items_{name}" for name in fails}


# sessions -------------------------------------------------------------------------------------


def session(user: str, ordinal: int, begin: float, **changes: Any) -> dict[str, Any]:
    """A sound undecided session of two browse events, of theme 2, with items' vectors."""
    plain: dict[str, Any] = dict.fromkeys(sessions_arrow_schema().names)
    plain |= {"session_id": f"{user}{ordinal}", "user_id": user, "ordinal": ordinal}
    plain |= {"start_ts": at(begin), "end_ts": at(begin + 1), "n_events": 2, "n_browse": 2, "theme_id": 2}
    plain |= dict.fromkeys(("n_intent", "n_purchase", "n_feedback", "n_vectors_category"), 0)
    plain |= {"n_vectors_item": 2, "n_vectors_none": 0, "has_interest": True, "first_event_id": "e"}
    return plain | changes


def sessions(spark: SparkSession, rows: Iterable[dict[str, Any]]) -> DataFrame:
    return spark.createDataFrame(pa.Table.from_pylist(list(rows), schema=sessions_arrow_schema())).coalesce(1)


DECIDED = {"is_hop": True, "hop_p": 0.01, "is_return": False}
SOUND_SESSIONS = [
    session("a", 1, 0),
    session("a", 2, 50, **DECIDED),
    session("b", 1, 98.999999, n_vectors_item=0, n_vectors_none=2, theme_id=1),  # ends just before as_of
    session("c", 1, 7, n_events=1, n_browse=0, n_purchase=1, n_vectors_item=0, n_vectors_category=1),
]
TOTALS = {"events": 7, "users": 3, "targets": 4}


def test_sound_sessions_pass(spark: SparkSession) -> None:
    metrics = sessions_metrics(
        sessions(spark, SOUND_SESSIONS), totals=TOTALS, as_of=AS_OF, theme_ids=[2, 3], train_end=at(99)
    )
    assert metrics["vector_coverage"] == 1.0, "b's session ends after train_end"
    assert metrics["undecided_share"] == 0.75
    gates = Gates(max_undecided_share=0.75, min_vector_coverage=1.0)
    assert failed(judge("silver", metrics, sessions_checks(gates))) == set()


def test_each_sessions_figure_counts_its_own_fault(spark: SparkSession) -> None:
    rows = [
        session("a", 1, 0),
        session("a", 3, 10),  # ordinal 2 is missing
        session("b", 1, 0, session_id="a1"),  # another session's id
        session("c", 1, 5, end_ts=at(4)),
        session("d", 1, 99),  # ends at as_of
        session("e", 1, 0, n_events=0, n_browse=0, n_vectors_item=0),
        session("f", 1, 0, n_intent=1),  # modes sum to 3 of 2 events
        session("g", 1, 0, n_vectors_none=1),  # vectors sum to 3 of 2 events
        session("h", 1, 0, theme_id=9),
        session("i", 1, 0, is_hop=True, is_return=False),  # decided without a p-value
        session("j", 1, 0, is_return=True),  # a return of an undecided hop
        session("k", 2, 0),  # no session 1
    ]
    metrics = sessions_metrics(
        sessions(spark, rows), totals={"events": 25, "users": 14}, as_of=AS_OF, theme_ids=[2]
    )
    counts = {name: metrics[name] for name in metrics if not name.startswith("n_")}
    assert counts == {
        "sessions": 12,
        "users": 10,
        "events": 22,
        "broken_ordinals": 2,
        "end_before_start": 1,
        "at_or_after_as_of": 1,
        "empty_sessions": 1,
        "mode_counts_off": 1,
        "vector_counts_off": 1,
        "unknown_themes": 1,
        "undecided": 11,
        "hops_without_p": 1,
        "returns_off": 1,
        "repeated_session_ids": 1,
        "events_missing": 3,
        "users_missing": 4,
        "undecided_share": 11 / 12,
        "vector_coverage": 1.0,
    }
    checks = sessions_checks(Gates(max_undecided_share=0.9))
    report = judge("silver", metrics | {"vector_coverage": 0.499}, checks)
    assert failed(report) == {f"silver.{check.name}" for check in checks}


# gold -----------------------------------------------------------------------------------------

SPEC = small_spec(targets=2)
GOLD_USERS = {
    # gap (µs), new session, category, mode, running theme; ten events, so five chunks of two targets
    "a": history([(0, True, 2, 1, 2), *[(1_000_000, k % 3 == 0, 2 + k % 2, 1, 2) for k in range(9)]]),
    "b": history([(0, True, 2, 1, 2), (0, False, 2, 1, 2), (5, False, 3, 2, 2)]),
    "c": history([(0, True, 2, 1, 1)]),
}
GOLD_AS_OF = datetime(1970, 1, 2, tzinfo=UTC)
CHECK = RowCheck(SPEC, to_micros(GOLD_AS_OF), {"item": 50, "category": 50, "type": 4})


def gold_rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    state = None
    for block, running, final in blocks(GOLD_USERS, set()):
        batches, state = chunk_block(block, running, final, SPEC, state)
        rows += [row for batch in batches for row in batch.to_pylist()]
    return sorted(rows, key=lambda row: (row["user_id"], row["chunk"]))


def gold(spark: SparkSession, rows: list[dict[str, Any]]) -> DataFrame:
    return spark.createDataFrame(pa.Table.from_pylist(rows, schema=arrow_schema(SPEC))).coalesce(1)


def gold_figures(
    spark: SparkSession, rows: list[dict[str, Any]], totals: dict[str, float]
) -> dict[str, float]:
    return gold_metrics(CHECK.of_rows(gold(spark, rows)), totals=totals)


def gold_events(spark: SparkSession) -> DataFrame:
    rows = [(user, event.ts) for user, events in GOLD_USERS.items() for event in events]
    late = [("a", 86_400_000_000), ("late", 86_400_000_001)]  # at and after as_of
    return table(spark, rows + late, "user_id string, us bigint").select(
        "user_id", sf.timestamp_micros("us").alias("ts")
    )


def test_sound_sequences_pass_and_account_for_every_target(spark: SparkSession) -> None:
    bronze = gold_events(spark)
    totals = event_totals(bronze, visible_users(bronze, GOLD_AS_OF), GOLD_AS_OF)
    assert totals == {"events": 14, "users": 3, "targets": 9 + 1 + 0}
    metrics = gold_figures(spark, gold_rows(), totals)
    assert (metrics["rows"], metrics["users"], metrics["targets"]) == (7, 3, 10)
    report = judge("gold", metrics, gold_checks(Gates()))
    assert failed(report) == set() and len(report.passed) == len(RULES) + 5


TOTALS_GOLD: dict[str, float] = {"events": 14, "users": 3, "targets": 10}


def twice(rows: list[dict[str, Any]]) -> None:
    rows.append(dict(rows[0]))


def without_chunk_2(rows: list[dict[str, Any]]) -> None:
    del rows[2]


def without_user_c(rows: list[dict[str, Any]]) -> None:
    rows.pop()


def unplaced(rows: list[dict[str, Any]]) -> None:
    rows[1]["theme__dropped"] += 1


def unknown_item(rows: list[dict[str, Any]]) -> None:
    rows[-1]["events__item"][-1] = 1


@pytest.mark.parametrize(
    ("change", "fails"),
    [
        (twice, {"chunks_dense", "targets_chained", "targets_conserved", "users_conserved"}),
        (without_chunk_2, {"chunks_dense", "targets_chained", "targets_conserved"}),
        (without_user_c, {"users_conserved"}),
        (unplaced, {"placed_dropped"}),
        (unknown_item, {"unknown_item_share"}),
    ],
)
def test_broken_sequences_fail(
    spark: SparkSession, change: Callable[[list[dict[str, Any]]], None], fails: set[str], tmp_path: Path
) -> None:
    """The same of rows at hand and of the table's files."""
    rows = gold_rows()
    change(rows)
    metrics = gold_figures(spark, rows, TOTALS_GOLD)
    warehouse = Warehouse(spark, str(tmp_path))
    warehouse.overwrite(gold(spark, rows), "gold/changed", partition_by=("length_bucket",))
    warehouse.overwrite(gold(spark, rows), "gold/changed", partition_by=("length_bucket",))  # old files stay
    assert gold_metrics(CHECK.of_table(warehouse, "gold/changed"), totals=TOTALS_GOLD) == metrics
    assert failed(judge("gold", metrics, gold_checks(Gates()))) == {f"gold.{name}" for name in fails}


def test_every_rule_of_a_row_is_a_gate() -> None:
    sound: dict[str, float] = dict.fromkeys((check.metric for check in gold_checks(Gates())), 0)
    broken = dict.fromkeys(sound, 3)
    assert judge("gold", sound, gold_checks(Gates())).ok
    report = judge("gold", broken, gold_checks(Gates()))
    assert len(failed(report)) == len(report.passed) and {f"gold.{rule}" for rule in RULES} <= failed(report)


# drift ----------------------------------------------------------------------------------------


def figures(users: int, sessions_: int, *modes: int) -> dict[str, float]:
    names = ("n_browse", "n_intent", "n_purchase", "n_feedback")
    return {
        "users": users,
        "sessions": sessions_,
        "events": sum(modes),
        **dict(zip(names, modes, strict=True)),
    }


@pytest.mark.parametrize(
    ("now", "fails"),
    [
        (figures(20, 40, 160, 20, 20, 0), set()),  # twice as many of everything
        (figures(10, 20, 60, 30, 10, 0), set()),  # mode mix moved by 0.2: at the bound
        (figures(10, 20, 59, 31, 10, 0), {"drift.mode_mix"}),
        (figures(10, 20, 120, 15, 15, 0), {"drift.events_per_user"}),
        (figures(10, 29, 80, 10, 10, 0), {"drift.sessions_per_user"}),
    ],
)
def test_drift_compares_rates_not_sizes(now: dict[str, float], fails: set[str]) -> None:
    metrics = drift_metrics(now, figures(10, 20, 80, 10, 10, 0))
    metrics["mode_drift"] = round(metrics["mode_drift"], 12)  # 0.2 in floats may be a hair more
    gates = Gates(max_mode_drift=0.2, max_count_drift=0.4)
    assert failed(judge("drift", metrics, drift_checks(gates))) == fails


def test_a_first_run_skips_drift_and_says_so() -> None:
    report = judge("drift", drift_metrics(figures(1, 1, 1, 0, 0, 0), None), drift_checks(Gates()))
    assert report.ok and report.passed == {}
    assert report.notes == ["drift gates skipped: no earlier run to compare with"]


# Great Expectations ---------------------------------------------------------------------------

SHARE = Check("share", "bad_share", "share of bad rows", "mend the source", maximum=0.25)
COUNT = Check("count", "rows", "rows kept", "add rows", minimum=2)


def test_bounds_are_inclusive_and_a_failure_says_figure_bound_and_remedy() -> None:
    assert judge("bronze", {"bad_share": 0.25, "rows": 2}, [SHARE, COUNT]).ok
    report = judge("bronze", {"bad_share": 0.2500001, "rows": 1234}, [SHARE, COUNT])
    assert report.passed == {"bronze.share": False, "bronze.count": True}
    assert report.failures == [
        "gate bronze.share failed: share of bad rows: bad_share is 0.2500001, allowed at most 0.25; "
        "mend the source"
    ]
    with pytest.raises(GateError, match=r"gate bronze\.share failed") as caught:
        require(report)
    assert caught.value.exit_status == 3


def test_the_first_of_several_failures_is_told_with_their_number() -> None:
    report = judge("bronze", {"bad_share": 1, "rows": 0}, [SHARE, COUNT])
    with pytest.raises(GateError, match=r"mend the source \(and 1 more, see jobs/status\.py\)"):
        require(report)


def test_a_figure_that_is_missing_or_no_number_never_passes() -> None:
    with pytest.raises(KeyError, match="rows"):
        judge("bronze", {"bad_share": 0}, [SHARE, COUNT])
    with pytest.raises(ValueError, match="bad_share is nan"):
        judge("bronze", {"bad_share": math.nan, "rows": 2}, [SHARE, COUNT])


def test_data_docs_are_html_that_shows_each_check(tmp_path: Path) -> None:
    folder = data_docs_folder(str(tmp_path))
    assert folder is not None
    judge("bronze", {"bad_share": 0.5, "rows": 2}, [SHARE, COUNT], docs_folder=folder)
    judge("silver", {"bad_share": 0.1, "rows": 2}, [SHARE, COUNT], docs_folder=folder)
    index = tmp_path / "ops" / "data_docs" / "index.html"
    assert "bronze" in index.read_text() and "silver" in index.read_text()
    (page,) = (tmp_path / "ops/data_docs/validations/bronze").rglob("*.html")
    assert "share of bad rows" in page.read_text() and "bad_share = 0.5" in page.read_text()
    assert data_docs_folder("s3a://bucket/warehouse") is None


def test_gates_keep_stdout_clean_and_call_nobody(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    called: list[Any] = []

    def refuse(_socket: socket.socket, address: Any) -> None:
        called.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    judge("bronze", {"bad_share": 0.5, "rows": 2}, [SHARE, COUNT], docs_folder=str(tmp_path / "docs"))
    assert called == []
    assert capfd.readouterr().out == ""
