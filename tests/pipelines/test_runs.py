"""Run records and the settings that shape the tables."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.config.load import parse_config
from pipelines.config.model import Config
from pipelines.errors import WarehouseError
from pipelines.fingerprint import explain_difference, fingerprint, require_same_settings, settings_json
from pipelines.pointer import Published
from pipelines.runs import RunRecord, RunSummary, code_version, last_runs, record_run, run_metrics

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def record(run_id: str, minutes: int = 0, **changes: Any) -> RunRecord:
    plain: dict[str, Any] = {
        "run_id": run_id,
        "status": "done",
        "started_at": NOON,
        "ended_at": NOON + timedelta(minutes=minutes),
        "config": "{}",
        "config_fingerprint": "f",
    }
    return RunRecord(**(plain | changes))


def config(**changes: Any) -> Config:
    plain: dict[str, Any] = {
        "source": {
            "path": "events.csv",
            "format": "csv",
            "columns": {"user_id": "u", "item_id": "i", "ts": "t"},
        }
    }
    for key, value in changes.items():
        *sections, name = key.split("__")
        section = plain
        for part in sections:
            section = section.setdefault(part, {})
        section[name] = value
    return parse_config(plain, "test")


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    assert last_runs(str(tmp_path), 5) == []
    written = record(
        "run-1",
        status="gate_failed",
        code_version="0.1.0",
        code_commit="abc+changed",
        summary='{"events_in": 3}',
        failed_gates=["silver.undecided_share"],
        gate_failures=["gate silver.undecided_share failed: …"],
        error="gate silver.undecided_share failed: …",
        evidence='{"within": 0.6}',
        metrics='{"silver": {"events": 3}}',
    )
    record_run(str(tmp_path), written)
    assert last_runs(str(tmp_path), 5) == [written]


def test_the_newest_runs_come_first(tmp_path: Path) -> None:
    for run_id, minutes in (("b", 2), ("a", 1), ("d", 4), ("c", 3)):
        record_run(str(tmp_path), record(run_id, minutes))
    assert [run.run_id for run in last_runs(str(tmp_path), 3)] == ["d", "c", "b"]
    assert len(last_runs(str(tmp_path), 99)) == 4


def test_only_a_run_that_is_done_gives_its_figures_to_drift(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert run_metrics(root, "run-1") is None
    record_run(root, record("run-1", metrics='{"silver": {"events": 3}}'))
    record_run(root, record("run-2", status="gate_failed", metrics='{"silver": {"events": 9}}'))
    record_run(root, record("run-3"))
    assert run_metrics(root, "run-1") == {"silver": {"events": 3}}
    assert run_metrics(root, "run-2") is None
    assert run_metrics(root, "run-3") is None


def test_the_summary_has_the_keys_that_others_rely_on() -> None:
    summary = RunSummary(
        "run-1",
        events_in=np.int64(7),  # type: ignore[arg-type]
        rejected={"late": 1},
        gates={"bronze.rows_conserved": True},
        extra={"as_of": NOON, "undecided_share": 0.5},
    )
    plain = summary.to_plain()
    promised = (
        "run_id events_in events_kept duplicates rejected users sessions hops returns themes rows_written "
        "gates versions seconds"
    )
    assert list(plain) == [*promised.split(), "as_of", "undecided_share"]
    assert plain["events_in"] == 7 and plain["as_of"] == "2026-11-20T12:00:00+00:00"
    assert "\n" not in summary.to_json() and json.loads(summary.to_json()) == plain


def test_an_extra_key_may_not_hide_a_promised_one() -> None:
    with pytest.raises(ValueError, match="would hide the summary's own: users"):
        RunSummary("run-1", extra={"users": 3}).to_plain()


def test_the_code_names_its_commit_in_a_checkout_only(tmp_path: Path) -> None:
    here = Path(__file__).resolve().parents[2]
    asked = subprocess.run(
        ["git", "-C", here, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    version, commit = code_version()
    assert version is not None
    assert (commit or "").removesuffix("+changed") == asked.stdout.strip()
    package = tmp_path / "pipelines"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "runs.py").write_text((here / "pipelines" / "runs.py").read_text())
    script = "from pipelines.runs import code_version; print(code_version()[1])"
    elsewhere = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert elsewhere.stdout == "None\n"


@pytest.mark.parametrize(
    "changes",
    [
        {"sessions__gap": "1h"},
        {"sequences__targets": 8},
        {"source__ts_unit": "ms"},
        {"source__window": {"end": "2026-01-01"}},
        {"hops__alpha": 0.2},
        {"users__heavy_events": 9},
        {"fit__train_share": 0.5},
        {"items__path": "categories.parquet"},
    ],
)
def test_a_setting_that_shapes_the_tables_changes_the_fingerprint(changes: dict[str, Any]) -> None:
    assert fingerprint(config(**changes)) != fingerprint(config())
    section, _, name = next(iter(changes)).partition("__")
    told = explain_difference(settings_json(config()), config(**changes))
    assert f"{section}" in told and (name in told or section == "items")


@pytest.mark.parametrize(
    "changes",
    [
        {"source__path": "other.csv"},
        {"source__delimiter": ";"},
        {"ingest__max_clock_skew": "1h"},
        {"gates__min_events": 5},
        {"spark__partitions": 8},
    ],
)
def test_a_setting_that_does_not_shape_them_leaves_it_alone(changes: dict[str, Any]) -> None:
    assert fingerprint(config(**changes)) == fingerprint(config())
    assert explain_difference(settings_json(config()), config(**changes)) == ""


def test_a_warehouse_of_another_config_is_refused_in_one_line() -> None:
    built = config()
    pointer = Published("r", NOON, NOON, None, {}, fingerprint(built), settings_json(built), {})
    require_same_settings("w", pointer, built)
    require_same_settings("w", None, built)
    with pytest.raises(WarehouseError) as caught:
        require_same_settings("w", pointer, config(sessions__gap="1h"))
    assert str(caught.value) == (
        "warehouse w was published with sessions.gap = 30min, this config says 1h; "
        "use --full-refresh to rebuild it, or another --warehouse"
    )
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"source__columns__session_key": "visit"}),
        ({}, {"source__columns__category_id": "category"}),
        ({"source__columns__event_type": "type", "source__event_types": {"pv": "browse"}},
         {"source__event_types": {"pv": "browse", "share": "feedback"}}),
        ({"source__columns__event_id": "id"},
         {"source__columns__event_type": "type", "source__event_types": {"pv": "browse"}}),
    ],
)  # fmt: skip
def test_a_source_may_grow(before: dict[str, Any], after: dict[str, Any]) -> None:
    built = config(**before)
    pointer = Published("r", NOON, NOON, None, {}, fingerprint(built), settings_json(built), {})
    require_same_settings("w", pointer, config(**before | after))
    smaller = replace(pointer, settings=settings_json(config(**before | after)), config_fingerprint="other")
    with pytest.raises(WarehouseError, match="was published with"):
        require_same_settings("w", smaller, built)


def test_a_part_of_derived_ids_may_not_be_mapped_later() -> None:
    """With types that were unknown, events of the lookback would come under other ids, and count twice."""
    built = config()
    pointer = Published("r", NOON, NOON, None, {}, fingerprint(built), settings_json(built), {})
    typed = {"source__columns__event_type": "type", "source__event_types": {"pv": "browse"}}
    with pytest.raises(WarehouseError) as caught:
        require_same_settings("w", pointer, config(**typed))
    assert str(caught.value) == (
        "warehouse w was published with source.columns.event_type = unset, this config says type; "
        "source.event_types = {}, this config says unset; source.event_types.pv = unset, this config says "
        "browse; event ids are derived from source.columns.event_type, so that events read again would count "
        "twice; use --full-refresh to rebuild it, or another --warehouse"
    )
    with pytest.raises(WarehouseError, match=r"says 1h; use --full-refresh"):
        require_same_settings("w", pointer, config(sessions__gap="1h"))


@pytest.mark.parametrize(
    "after",
    [
        {"source__columns__event_id": "id"},
        {"source__columns__item_id": "sku"},
        {"source__event_types": {"pv": "intent"}},
        {"source__event_types": {"pv": "browse", "share": "feedback"}, "sessions__gap": "1h"},
    ],
)
def test_what_events_mean_may_not_change(after: dict[str, Any]) -> None:
    before = {"source__columns__event_type": "type", "source__event_types": {"pv": "browse"}}
    built = config(**before)
    pointer = Published("r", NOON, NOON, None, {}, fingerprint(built), settings_json(built), {})
    with pytest.raises(WarehouseError, match="was published with"):
        require_same_settings("w", pointer, config(**before | after))


def test_types_taken_in_as_unlisted_may_not_be_mapped_later() -> None:
    before = {"source__columns__event_type": "type", "source__unlisted_event_type": "browse"}
    built = config(**before)
    pointer = Published("r", NOON, NOON, None, {}, fingerprint(built), settings_json(built), {})
    with pytest.raises(WarehouseError, match="event_types"):
        require_same_settings("w", pointer, config(**before, source__event_types={"share": "feedback"}))


def test_many_differences_are_counted_not_listed() -> None:
    other = config(
        sessions__gap="1h", sessions__max="48h", hops__alpha=0.2, users__heavy_events=9, themes__count=5
    )
    told = explain_difference(settings_json(config()), other)
    assert told.endswith("; 2 more differ") and told.count("this config says") == 3
