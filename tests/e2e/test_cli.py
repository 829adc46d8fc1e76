"""The job as a person starts it: exit statuses, one line an error, the JSON line, --help."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUBMIT = Path(sys.executable).with_name("spark-submit")
ROWS = "user_id,item_id,category_id,event_type,ts\n" + "".join(
    f"u{n % 7},i{n % 11},c{n % 3},pv,2026-01-0{1 + n % 5}T10:{n % 60:02}:00Z\n" for n in range(200)
)
CONFIG = """
[source]
path = "events.csv"
format = "csv"
ts_unit = "iso"
[source.columns]
user_id = "user_id"
item_id = "item_id"
category_id = "category_id"
event_type = "event_type"
ts = "ts"
[source.event_types]
pv = "browse"
[embeddings]
method = "category"
[themes]
count = 2
"""


def job(folder: Path, *words: str, submit: bool = False) -> subprocess.CompletedProcess[str]:
    start = [str(SUBMIT)] if submit else [sys.executable]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(
        [*start, str(ROOT / "jobs" / "build_sequences.py"), *words],
        capture_output=True, text=True, cwd=folder, env=environment, check=False, timeout=500,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / "events.csv").write_text(ROWS)
    return tmp_path


def the_error(answer: subprocess.CompletedProcess[str]) -> str:
    """The one line of an expected failure; no traceback, nothing on stdout."""
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""
    (line,) = (line for line in answer.stderr.splitlines() if line.startswith("error: "))
    return line


def test_spark_submit_ends_with_the_summary_as_its_last_line(folder: Path) -> None:
    answer = job(folder, "--config", "config.toml", submit=True)
    assert answer.returncode == 0, answer.stderr
    (line,) = answer.stdout.splitlines()  # progress goes to stderr, though spark-submit merges the two
    assert "ingest done in" in answer.stderr
    summary = json.loads(line)
    assert summary["events_in"] == 200 == summary["events_kept"] + summary["duplicates"]
    assert (folder / "warehouse" / "gold" / "user_sequences" / "_delta_log").is_dir()
    assert (folder / "warehouse" / "ops" / "data_docs" / "index.html").is_file()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "--config FILE is needed"),
        (("--config", "nowhere.toml"), "no such config file"),
        (("--config", "config.toml", "--set", "sesions.gap=1h"), "did you mean sessions"),
        (("--config", "config.toml", "--as-of", "soon"), "not a time"),
        (("--config", "config.toml", "--start", "2026-01-02", "--end", "2026-01-01"), "is not before"),
        (("--config", "config.toml", "--fit", "sometimes"), "invalid choice"),
        (("--config", "config.toml", "--warehouse", "/proc/warehouse"), "cannot be written"),
        (("--config", "config.toml", "--warehouse", "logs #1"), "cannot lie in a folder with # in its name"),
        (("--dry-run",), "--dry-run needs --source"),
    ],
)
def test_wrong_arguments_exit_2_with_one_line(folder: Path, words: tuple[str, ...], expected: str) -> None:
    answer = job(folder, *words)
    assert answer.returncode == 2
    assert expected in the_error(answer)


def test_a_missing_source_exits_2(folder: Path) -> None:
    answer = job(folder, "--config", "config.toml", "--source", "nowhere.csv")
    assert answer.returncode == 2
    assert "nowhere.csv" in the_error(answer)


def test_a_failed_gate_exits_3_and_status_names_it(folder: Path) -> None:
    (folder / "events.csv").write_text(ROWS + "u1,i1,c1,pv,yesterday\n" * 200)
    answer = job(folder, "--config", "config.toml")
    assert answer.returncode == 3
    assert "rejected" in the_error(answer)
    status = subprocess.run(
        [sys.executable, str(ROOT / "jobs" / "status.py"), "--warehouse", "warehouse"],
        capture_output=True, text=True, cwd=folder, check=False,
    )  # fmt: skip
    assert status.returncode == 0
    assert "rejected" in status.stdout


def test_a_locked_warehouse_exits_4_and_names_the_holder(folder: Path) -> None:
    from pipelines.lock import hold_lock

    (folder / "warehouse").mkdir()
    with hold_lock(str(folder / "warehouse"), "the-other-run"):
        answer = job(folder, "--config", "config.toml")
    assert answer.returncode == 4
    assert "the-other-run" in the_error(answer)


def test_help_shows_examples(folder: Path) -> None:
    answer = job(folder, "--help")
    assert answer.returncode == 0
    assert "examples:" in answer.stdout
    assert "--dry-run" in answer.stdout


@pytest.mark.slow
def test_a_dry_run_proposes_a_config_that_then_builds(folder: Path) -> None:
    """From an unknown log to tables: the proposed TOML is used as it is."""
    profile = job(folder, "--dry-run", "--source", "events.csv")
    assert profile.returncode == 0, profile.stderr
    proposed = json.loads(profile.stdout.splitlines()[-1])["config"]
    (folder / "proposed.toml").write_text(proposed)
    answer = job(folder, "--config", "proposed.toml", "--set", "themes.count=2")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout.splitlines()[-1])["events_kept"] > 0
