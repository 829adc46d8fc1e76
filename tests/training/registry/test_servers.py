"""The commands against real MLflow servers, found by MLflow's own variable."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

from tests.training.registry.conftest import POPULARITY, TRANSITION, Fit
from tests.training.registry.servers import mlflow_server, postgres, postgres_programs
from training.registry.__main__ import main
from training.registry.tracking import connect
from training.registry.versions import aliases, find, set_tags

Call = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    def run(*words: object) -> tuple[int, dict[str, Any]]:
        capfd.readouterr()
        status = main([str(word) for word in words])
        return status, json.loads(capfd.readouterr().out.strip().splitlines()[-1])

    return run


def _from_run_to_rollback(call: Call, fit: Fit) -> None:
    """Two versions, the second promoted over the first and rolled back."""
    client = connect().client
    for number, model in enumerate((POPULARITY, TRANSITION), start=1):
        status, summary = call("register", "--run", fit(model), "--name", "next")
        assert (status, summary["version"], summary["new"]) == (0, number, True)
    assert call("register", "--run", fit(POPULARITY), "--name", "next")[1]["version"] == 1
    run = client.get_run(find(client, "next", 2).run_id)
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
    assert run.data.metrics["test/hr_10"] == pytest.approx(
        json.loads((fit(TRANSITION) / "test.json").read_text())["all"]["hr_10"]
    )
    contexts = {tag.value for one in run.inputs.dataset_inputs for tag in one.tags}
    assert contexts == {"train", "validation", "test"}
    assert call("promote", "--name", "next", "--version", 1, "--first")[1]["champion"] == 1
    status, summary = call("promote", "--name", "next")
    assert (status, summary["decision"], aliases(client, "next")) == (
        0,
        "promoted",
        {"champion": 2, "previous": 1},
    )
    assert "by slice" in mlflow.artifacts.load_text(summary["report"])
    assert len(call("show", "--name", "next")[1]["versions"]) == 2
    assert call("rollback", "--name", "next")[1]["champion"] == 1


def test_a_server_over_sqlite(
    empty_store: Path, tmp_path: Path, fit: Fit, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "mlflow.db"
    database.write_bytes((empty_store / "mlflow.db").read_bytes())
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "served")
    with mlflow_server(f"sqlite:///{database}", tmp_path) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        _from_run_to_rollback(call, fit)


@pytest.mark.slow
def test_a_server_over_postgresql(
    tmp_path: Path, fit: Fit, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL holds texts to their length, which SQLite does not."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    if importlib.util.find_spec("psycopg2") is None:
        pytest.skip("no driver for PostgreSQL: pip install -c conf/constraints.txt -e '.[postgres]'")
    with postgres(programs) as backend, mlflow_server(backend, tmp_path) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        _from_run_to_rollback(call, fit)
        client = connect().client
        set_tags(client, find(client, "next", 2), {"long": "ä" * 9000})
        assert len(find(client, "next", 2).tags["long"]) == 5000
