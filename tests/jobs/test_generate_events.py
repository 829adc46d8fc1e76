"""The generator's command line: last line, exit statuses, one clear line per fault."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

JOB = Path(__file__).parents[2] / "jobs" / "generate_events.py"


def call(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(JOB), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=JOB.parents[1])


def test_the_last_line_is_the_summary(tmp_path: Path) -> None:
    done = call(
        "--events", 3_000, "--out", tmp_path / "a", "--format", "jsonl", "--start", "2024-02-01", "--days", 3
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["events"] == 3_000
    assert summary["rows_written"] == 3_000 + summary["duplicates"] + sum(summary["malformed"].values())
    assert {"sessions", "hops", "returns", "files", "seconds"} <= set(summary)
    assert summary["window"] == {"start": "2024-02-01T00:00:00Z", "end": "2024-02-04T00:00:00Z"}
    assert len(list((tmp_path / "a" / "events").glob("*.jsonl"))) == summary["files"] == 3
    assert "3,000 events" in done.stderr


def test_help_shows_every_setting_with_examples() -> None:
    done = call("--help")
    assert done.returncode == 0
    for word in ("--hop-probability", "--theme-overlap", "--ts-unit", "examples:", "--format parquet"):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--events", "many"], "--events"),
        (["--events", "-5"], "--events is -5; it must be at least 1"),
        (["--hop-probability", "2"], "--hop-probability is 2.0; it must be between 0 and 1"),
        (["--format", "xml"], "xml"),
        (["--workers", "0"], "--workers is 0; it must be at least 1"),
        (["--start", "yesterday"], "'yesterday' is not a time"),
        (["--evnets", "5"], "--evnets"),
    ],
)
def test_wrong_arguments_end_with_2_and_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = call("--out", tmp_path / "a", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1 and message in done.stderr
    assert not (tmp_path / "a").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = call("--events", 100, "--out", tmp_path / "file" / "a")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "cannot be written" in done.stderr


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    assert call("--events", 100, "--out", tmp_path).returncode == 0
    before = {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
    done = call("--events", 100, "--out", tmp_path)
    assert done.returncode == 2 and "holds a data set already" in done.stderr
    assert {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()} == before
