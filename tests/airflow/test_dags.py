"""The DAGs as Airflow reads them, in Airflow's own environment (`make airflow`)."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

HOME = Path(__file__).resolve().parents[2]
PYTHON = HOME / ".venv-airflow" / "bin" / "python"


def inspect(folder: Path, home: Path) -> Any:
    """What Airflow finds in a folder of DAGs."""
    assert PYTHON.exists(), "make airflow sets up the environment of these tests"
    done = subprocess.run(
        [PYTHON, Path(__file__).with_name("inspect_dags.py"), folder],
        env={**os.environ, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return inspect(HOME / "airflow" / "dags", tmp_path_factory.mktemp("airflow"))


def test_every_file_is_read_without_work_at_import(found: Any) -> None:
    assert found["errors"] == {}
    assert set(found["dags"]) == {"behavior_sequences", "backfill_sequences"}


def test_work_at_import_would_be_found(tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "bad.py").write_text(
        "from airflow.sdk import DAG, Variable\nwith DAG('bad'):\n    Variable.get('seqloom_home')\n"
    )
    (error,) = inspect(dags, tmp_path)["errors"].values()
    assert "top-level work" in error


def test_a_day_runs_from_events_to_scores(found: Any) -> None:
    daily = found["dags"]["behavior_sequences"]
    down = {name: task["down"] for name, task in daily["tasks"].items()}
    assert down == {
        "build": ["due"],
        "due": ["choose"],
        "choose": ["score", "train"],
        "train": ["promote"],
        "promote": ["score"],
        "score": [],
    }
    assert (daily["max_active_runs"], daily["catchup"]) == (1, False)
    assert daily["timetable"] == "CronDataIntervalTimetable"
    assert all(task["retries"] >= 1 for task in daily["tasks"].values())
    assert daily["tasks"]["score"]["trigger_rule"] == "none_failed"


def test_writers_of_the_warehouse_share_a_pool_and_tables_are_announced(found: Any) -> None:
    pools = json.loads((HOME / "airflow" / "pools.json").read_text())
    announced = set()
    for dag in found["dags"].values():
        for name, task in dag["tasks"].items():
            announced |= set(task["outlets"])
            if name in ("build", "score"):
                assert task["pool"] == "seqloom_warehouse"
            assert task["pool"] in {*pools, "default_pool"}
    assert announced == {
        "seqloom://warehouse/gold/user_sequences",
        "seqloom://registry/champion",
        "seqloom://warehouse/scores/users",
    }
    assert pools["seqloom_warehouse"]["slots"] == 1
