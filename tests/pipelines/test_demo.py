"""The end of ``make demo``: its numbers are those of the demo's files, 80 columns wide, plain in a pipe."""

import doctest
import io
import json
import os
import pty
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

import pipelines.demo.strip
from pipelines.demo.read import TABLES, read_demo
from pipelines.demo.show import show
from pipelines.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
INTERVAL = {"level": 0.95, "seeds": 1, "users": 30, "targets": 400}
BETTER = {"estimate": 0.0123, "low": 0.0101, "high": 0.0155} | INTERVAL
WORSE = {"estimate": -0.2, "low": -0.3, "high": -0.1} | INTERVAL
CONTEST: dict[str, Any] = {
    "name": "next-item",
    "version": 2,
    "decision": "not_promoted",
    "champion": 1,
    "reasons": ["may fall against champion v1 on within a session: -0.2 [-0.3, -0.1]"],
    "rule": {"metric": "ndcg_10"},
    "window": {"targets": 400, "users": 30},
    "figures": {
        "v2": {"all": 0.3123, "within_session": 0.1, "first_after_return": 0.5},
        "champion v1": {"all": 0.3, "within_session": 0.3, "first_after_return": 0.5},
    },
    "differences": [
        {
            "rival": "champion v1",
            "all": BETTER,
            "guarded": {"within_session": WORSE, "history_0_9": None},
        }
    ],
}


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A demo's folder with tables of 3, 4, … rows."""
    for at, table in enumerate(TABLES):
        rows = pa.table({"n": list(range(at + 3)), "bucket": [at % 2] * (at + 3)})
        write_deltalake(str(tmp_path / "warehouse" / table), rows, partition_by=["bucket"])
    put(tmp_path, "generated.json", {"events": 900, "hops": 111, "returns": 77, "sessions": 222})
    put(tmp_path, "truth/summary.json", {"settings": {"themes": 5}})
    similar = {
        name: {"mean": mean} for name, mean in (("within", 0.61), ("adjacent", 0.21), ("random_users", 0.02))
    }
    build = {
        "events_in": 910,
        "duplicates": 6,
        "rejected": {"bad_ts": 4},
        "users": 33,
        "hops": 120,
        "returns": 80,
    }
    build |= {"themes": 5, "versions": dict.fromkeys(TABLES, 0), "seconds": {"ingest": 12.4, "fit": 20.0}}
    put(tmp_path, "summary.json", build | {"evidence": {"categories": similar}})
    truth = {"sessions_true": 222, "sessions_found": 222, "sessions_exact": 222, "theme_ari": 0.987}
    truth |= {"hop_precision": 0.912, "hop_recall": 0.954, "returns_true": 77, "returns_found": 70}
    put(tmp_path, "found.json", truth | {"return_lag_right": 0.9})
    put(tmp_path, "scored.json", {"users": 33, "model": "next-item", "model_version": 1})
    fitted = [{"version": 1, "model": "sasrec", "test": {}}, {"version": 2, "model": "mos", "test": {}}]
    put(tmp_path, "models.jsonl", *fitted, CONTEST)
    return tmp_path


def put(folder: Path, name: str, *objects: Any) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in objects))


def shown(folder: Path) -> str:
    """The screen as text, every run of blanks as one."""
    file = io.StringIO()
    show(read_demo(folder), file)
    text = file.getvalue()
    assert max(map(len, text.replace(str(folder), "demo").splitlines())) <= 80, text
    return " ".join(text.split())


def test_numbers_are_those_of_the_files(demo: Path) -> None:
    text = shown(demo)
    for at, table in enumerate(TABLES):
        assert f"{table} {at + 3} " in text
    assert "910 read, 6 of them duplicates" in text and "built in 32 s" in text
    assert "hops 120 111 precision 91.2%, recall 95.4%" in text
    assert "returns 80 77 90.9% of the true ones, 90.0% with their lag" in text
    assert "themes 5 5 sessions of 3+ events agree: ARI 0.987" in text
    assert "0.61 within a session, 0.21 to the next, 0.02 to strangers" in text
    assert "all targets 0.3000 0.3123 +0.0123 [+0.0101, +0.0155]" in text
    assert "within a session 0.3000 0.1000 -0.2000 [-0.3000, -0.1000]" in text
    assert "mos was not promoted, sasrec stays champion: may fall against champion v1" in text
    assert "33 users scored by next-item v1" in text


def test_a_promoted_model_is_said_to_be(demo: Path) -> None:
    contest = deepcopy(CONTEST) | {"decision": "promoted", "champion": 2, "reasons": []}
    put(demo, "models.jsonl", {"version": 2, "model": "mos", "test": {}}, contest)
    assert "mos was promoted: it is the champion now" in shown(demo)


def test_reports_are_named_where_they_are_however_long_the_path(demo: Path) -> None:
    demo = demo.rename(demo.with_name("a" * 100))
    assert "report.html" not in shown(demo)
    put(demo, "runs/mos/report.html", {})
    assert str(demo / "runs" / "mos" / "report.html") in shown(demo)


def test_without_a_contest_or_scores_the_rest_is_shown(demo: Path) -> None:
    (demo / "models.jsonl").unlink()
    (demo / "scored.json").unlink()
    text = shown(demo)
    assert "hops 120 111" in text and "Models" not in text and "scored" not in text


def test_a_folder_without_a_demo(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run make demo first"):
        read_demo(tmp_path)


def run_job(demo: Path, stdout: int, **environ: str) -> "subprocess.Popen[bytes]":
    job = [sys.executable, str(ROOT / "jobs" / "show_demo.py"), "--demo", str(demo)]
    inherited = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    environ = inherited | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color"} | environ
    return subprocess.Popen(job, stdout=stdout, env=environ)


def on_a_terminal(demo: Path, **environ: str) -> bytes:
    mine, its = pty.openpty()
    process = run_job(demo, its, **environ)
    os.close(its)
    read = b""
    try:
        while part := os.read(mine, 65_536):
            read += part
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(mine)
    assert process.wait() == 0
    return read


def test_colours_are_for_terminals_only(demo: Path) -> None:
    with run_job(demo, subprocess.PIPE) as piped:
        plain = piped.communicate()[0]
    assert piped.returncode == 0 and b"\x1b" not in plain and b"Tables" in plain
    assert b"\x1b[" in on_a_terminal(demo)
    none = on_a_terminal(demo, NO_COLOR="1")
    assert b"\x1b[3" not in none and b"\x1b[1;3" not in none and b"Tables" in none


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(pipelines.demo.strip).failed == 0
