"""Where things go, the versions of data sets, and the command's outside."""

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
import torch

from training.errors import ConfigError
from training.registry.__main__ import main
from training.registry.datasets import inputs
from training.registry.tracking import Tracking, _artifact_root, connect, tracking_uri
from training.registry.versions import cut, parse_uri
from training.registry.weights import weights_digest

ORIGIN = {
    "table": {"path": "/w/gold/user_sequences", "version": 0, "publication": 0, "rows": 9},
    "splits": {"train_end": "t1", "valid_end": "t2", "end": "t3"},
}


def test_version_0_of_a_table_is_kept(tracking: Tracking) -> None:
    """MLflow's own source leaves out what is false, and a first build is version 0."""
    with mlflow.start_run(experiment_id=tracking.experiment) as run:
        for context, dataset in inputs(ORIGIN).items():
            mlflow.log_input(dataset, context=context)
    held = tracking.client.get_run(run.info.run_id).inputs.dataset_inputs
    assert [json.loads(one.dataset.source)["delta_table_version"] for one in held] == ["0"] * 3
    assert len({one.dataset.digest for one in held}) == 3
    source = mlflow.data.get_source(held[0].dataset)
    assert int(source.delta_table_version) == 0 and source.path == "/w/gold/user_sequences"
    later = ORIGIN | {"table": ORIGIN["table"] | {"version": 1}}
    assert inputs(later)["train"].digest != inputs(ORIGIN)["train"].digest


def test_a_folder_a_variable_or_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking_uri(None, None) == f"sqlite:///{tmp_path}/registry/mlflow.db"
    assert tracking_uri(None, "http://127.0.0.1:1") == "http://127.0.0.1:1"
    assert tracking_uri("mine", "http://127.0.0.1:1") == f"sqlite:///{tmp_path}/mine/mlflow.db"
    assert (tmp_path / "mine").is_dir() and not (tmp_path / "mine/mlflow.db").exists()


def test_artifacts_lie_beside_the_database_or_where_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", raising=False)
    assert _artifact_root("sqlite:////data/x/mlflow.db") == "file:///data/x/artifacts"
    assert _artifact_root("http://127.0.0.1:1") is None
    with pytest.raises(ConfigError, match="set MLFLOW_DEFAULT_ARTIFACT_ROOT"):
        _artifact_root("postgresql://user:secret@host/db")
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", "s3://bucket/x")
    assert _artifact_root("postgresql://user@host/db") == "s3://bucket/x"


def test_the_experiment_is_the_one_of_the_variable(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default = connect(str(store))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "other")
    named = connect(str(store))
    assert named.experiment != default.experiment == connect_again(store, monkeypatch)
    root = named.client.get_experiment(named.experiment).artifact_location
    assert root == (store / "artifacts").as_uri()


def connect_again(store: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    return connect(str(store)).experiment


def test_a_server_that_is_away_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert main(["show", "--name", "next", "--tracking", "http://127.0.0.1:9"]) == 1
    told = capsys.readouterr().err
    assert told.splitlines()[-1].startswith("error: MLflow: ") and "Traceback" not in told


@pytest.mark.parametrize(
    "uri", ["next/1", "models:/next", "models:/next/x", "models:/@champion", "models:/m-1"]
)
def test_what_is_no_registered_model_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match="is no registered model"):
        parse_uri(uri)


def test_long_texts_are_cut_to_what_the_tables_hold() -> None:
    assert len(cut("ä" * 9000)) == 5000 and cut("short") == "short"


def test_weights_are_named_by_every_bit() -> None:
    one = {"b": torch.zeros(3), "a": torch.tensor(1)}
    digest = weights_digest(one)
    assert weights_digest(dict(reversed(one.items()))) == digest
    changed = torch.zeros(3)
    changed[1] = -0.0
    assert weights_digest(one | {"b": changed}) != digest
    for kind in (torch.int32, torch.float64):  # the first has the same bytes
        assert weights_digest(one | {"b": torch.zeros(3, dtype=kind)}) != digest
    assert weights_digest({"c": one["b"], "a": one["a"]}) != digest


@pytest.mark.parametrize("name", ["register", "train", "promote", "rollback", "show", "rebuild"])
def test_help_shows_examples_of_every_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    told = capsys.readouterr().out
    assert (
        ended.value.code == 0 and f"python -m training.registry {name} --" in told and "exit status" in told
    )


def test_help_needs_neither_mlflow_nor_torch() -> None:
    code = (
        "import sys; from training.registry.arguments import parse\n"
        "try: parse(['promote', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'mlflow', 'torch'} & sys.modules.keys(), 'imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
