"""``jobs/status.py`` as a person runs it: no JVM, clear lines, exit statuses."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from features.spec import SequenceSpec
from pipelines.lock import LOCK_FILE, hold_lock
from pipelines.pointer import Published, move_pointer
from pipelines.runs import RunRecord, record_run
from pipelines.status import next_step, read_status, render

REPOSITORY = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def run_job(*arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if key != "JAVA_HOME"}
    environment["PATH"] = "/nonexistent"  # without Java
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "jobs" / "status.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment | {"PYTHONPATH": str(REPOSITORY)},
    )


def write(root: Path, table: str, *values: int) -> int:
    write_deltalake(str(root / table), pa.table({"n": list(values)}), mode="append")
    return DeltaTable(str(root / table)).version()


def record(root: Path, run_id: str, minutes_ago: int, **changes: Any) -> None:
    ended = NOW - timedelta(minutes=minutes_ago)
    plain: dict[str, Any] = {"run_id": run_id, "status": "done", "config": "{}", "config_fingerprint": "f"}
    plain |= {"started_at": ended - timedelta(seconds=90), "ended_at": ended}
    record_run(str(root), RunRecord(**(plain | changes)))


def publish(root: Path, versions: dict[str, int]) -> None:
    spec = SequenceSpec().to_json()
    as_of = NOW - timedelta(days=1)
    published_at = NOW - timedelta(hours=3)
    new = Published("run-1", published_at, as_of, "fit-7", versions, "cafe", "{}", spec)
    move_pointer(str(root), new, None)


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    """Published by run-1, three hours ago."""
    root = tmp_path / "warehouse"
    versions = {table: write(root, table, 1) for table in ("bronze/events", "gold/user_sequences")}
    publish(root, versions)
    record(root, "run-1", 180)
    return root


def text(root: Path) -> str:
    return render(read_status(str(root), NOW))


def test_a_published_warehouse_needs_nothing(warehouse: Path) -> None:
    assert text(warehouse).splitlines() == [
        f"warehouse  {warehouse}",
        "published  number 0 by run run-1, 3 h ago",
        "  at 2026-11-20 09:00:00 UTC, as of 2026-11-19 12:00:00 UTC",
        "  fit fit-7, config cafe",
        "  bronze/events        version 0",
        "  gold/user_sequences  version 0",
        "running  nothing",
        "last runs",
        "  run-1  done, 3 h ago, took 90 s",
        "next  nothing: the last run was published",
    ]


def test_a_failed_gate_is_told_with_its_reason(warehouse: Path) -> None:
    failure = "gate silver.undecided_share failed: … is 0.7, allowed at most 0.5; give the fit more sessions"
    record(warehouse, "run-2", 5, status="gate_failed", gate_failures=[failure], error=failure)
    lines = text(warehouse).splitlines()
    at = lines.index("  run-2  GATE FAILED, nothing published, 5 min ago, took 90 s")
    assert lines[at + 1] == f"      {failure}" and lines[at + 2].startswith("  run-1  done")
    assert lines[-1].startswith("next  follow the remedy of each failed gate above, then run again")
    assert f"{warehouse}/ops/data_docs/index.html" in lines[-1]


def test_a_failed_run_is_told_with_its_error(warehouse: Path) -> None:
    record(warehouse, "run-2", 5, status="failed", error="events.csv: no column 'ts'")
    lines = text(warehouse).splitlines()
    assert "      events.csv: no column 'ts'" in lines
    assert lines[-1] == "next  mend what stopped the last run, then run again"


def test_a_running_run_is_named(warehouse: Path) -> None:
    with hold_lock(str(warehouse), "run-2", clock=lambda: NOW.timestamp() - 20):
        write(warehouse, "bronze/events", 2)
        found = text(warehouse)
    assert f"running  run run-2, process {os.getpid()} on " in found
    assert "since 2026-11-20T11:59:40+00:00, heard of 20 s ago" in found
    assert found.splitlines()[-1].startswith("next  a run is working: wait for it")


def test_a_died_run_is_seen_by_its_lock(warehouse: Path) -> None:
    with hold_lock(str(warehouse), "run-2"):
        left = json.loads((warehouse / LOCK_FILE).read_text())
    (warehouse / LOCK_FILE).write_text(json.dumps(left | {"process_start": "1"}))
    found = text(warehouse)
    assert "running  nothing; run run-2, process" in found and "is gone" in found
    assert "next  the last run died: start it again" in found


def test_commits_beyond_the_pointer_are_told_and_restored_ones_are_not(warehouse: Path) -> None:
    write(warehouse, "bronze/events", 2)
    write(warehouse, "silver/sessions", 2)
    found = read_status(str(warehouse), NOW)
    assert found.unpublished == ["bronze/events", "silver/sessions"]
    assert next_step(found).startswith("a run died before it published: start it again")
    DeltaTable(str(warehouse / "bronze/events")).restore(0)
    assert read_status(str(warehouse), NOW).unpublished == ["silver/sessions"]


def test_a_warehouse_before_its_first_publication(tmp_path: Path) -> None:
    (tmp_path / "ops").mkdir()
    found = text(tmp_path)
    assert "published  nothing yet" in found and "last runs  none is recorded" in found
    assert (
        f"next  build it: spark-submit jobs/build_sequences.py --config FILE --warehouse {tmp_path}" in found
    )


def test_the_job_prints_text_without_java_and_quickly(warehouse: Path) -> None:
    begin = time.perf_counter()
    ended = run_job("--warehouse", str(warehouse))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"warehouse  {warehouse}\npublished  number 0 by run run-1, ")
    assert time.perf_counter() - begin < 30


def test_json_is_one_object_on_one_line(warehouse: Path) -> None:
    ended = run_job("--warehouse", str(warehouse), "--json", "--runs", "1")
    assert ended.returncode == 0
    (line,) = ended.stdout.splitlines()
    found = json.loads(line)
    assert found["pointer"]["versions"] == {"bronze/events": 0, "gold/user_sequences": 0}
    assert found["pointer"]["as_of"] == "2026-11-19T12:00:00+00:00"
    assert [run["run_id"] for run in found["runs"]] == ["run-1"]
    assert found["lock"] is None and found["next"] == "nothing: the last run was published"


@pytest.mark.parametrize(
    ("make", "arguments", "told"),
    [
        (False, (), "no such folder; pass the warehouse of a build with --warehouse DIR"),
        (True, (), "not a warehouse (it holds neither ops/ nor bronze/)"),
        (True, ("--runs", "0"), "0 runs cannot be listed; ask for at least 1"),
        (True, ("--verbose",), "unrecognized arguments: --verbose; see --help"),
    ],
)
def test_wrong_arguments_end_with_2_and_one_line(
    tmp_path: Path, make: bool, arguments: tuple[str, ...], told: str
) -> None:
    folder = tmp_path / "folder"
    if make:
        folder.mkdir()
    ended = run_job("--warehouse", str(folder), *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ") and told in line


def test_help_shows_examples() -> None:
    ended = run_job("--help")
    assert ended.returncode == 0
    assert "python jobs/status.py --warehouse demo/warehouse" in ended.stdout
