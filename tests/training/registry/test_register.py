"""A finished run in MLflow: what is logged, that it is logged once, and what is refused."""

import json
import shutil
from pathlib import Path

import mlflow
import pytest
import torch
from mlflow.entities import FileInfo, Run

from tests.training.registry.conftest import SASREC, Command, Fit
from training.fit.checkpoint import flatten
from training.fit.load import load_config
from training.registry.finished import read_finished
from training.registry.register import register
from training.registry.restore import contestant_of, uri
from training.registry.tracking import Tracking
from training.registry.versions import find
from training.registry.weights import weights_digest


@pytest.fixture
def run(fit: Fit) -> Path:
    return fit()


@pytest.fixture
def logged(tracking: Tracking, run: Path, fit: Fit) -> Run:
    summary = register(tracking, run, "next", [str(fit("name = 'popularity'"))])
    return tracking.client.get_run(summary["run_id"])


def test_everything_of_the_run_is_logged(tracking: Tracking, logged: Run, run: Path) -> None:
    traced, test = (json.loads((run / name).read_text()) for name in ("run.json", "test.json"))
    config = load_config(run / "config.toml")
    asked = flatten(config.model_dump(mode="json", exclude_none=True))
    assert logged.info.status == "FINISHED"
    assert logged.data.params.keys() == asked.keys()
    assert logged.data.params["model.dim"] == "8" and logged.data.params["data.version"] == str(
        traced["table"]["version"]
    )
    for part, values in test.items():
        for name, value in values.items():
            key = f"test/{name}" if part == "all" else f"test/{part}/{name}"
            assert logged.data.metrics[key] == pytest.approx(value), key
    best = torch.load(run / "best.pt", weights_only=True)
    assert logged.data.metrics["best/hopping/hr_10"] == best["validation"]["hopping/hr_10"]
    tags = logged.data.tags
    assert json.loads(tags["seqloom.table_versions"]) == traced["table"]["versions"]
    assert tags["seqloom.as_of"] == "1970-01-02T00:00:40+00:00" and tags["seqloom.fit"] == "f1"
    assert tags["seqloom.seed"] == "17" and tags["seqloom.publication"] == "0"
    assert tags["seqloom.dirty"] == str(str(traced["code_commit"]).endswith("+changed")).lower()
    assert str(traced["code_commit"]).startswith(tags["mlflow.source.git.commit"])
    listed = [_files(tracking, logged, folder) for folder in ("", "run", "plots")]
    files = {file.path for some in listed for file in some}
    assert {
        "card.md", "run/config.toml", "run/run.json", "run/metrics.jsonl", "run/test.json",
        "run/summary.json", "plots/curves.png", "plots/slices.png",
    } <= files  # fmt: skip


def _files(tracking: Tracking, logged: Run, folder: str) -> list[FileInfo]:
    return tracking.client.list_artifacts(logged.info.run_id, folder)


def test_curves_are_metrics_by_step(tracking: Tracking, logged: Run, run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for name, expected in (
        ("train/loss", [(line["step"], line["loss"]) for line in lines if "loss" in line]),
        (
            "validation/ndcg_10",
            [(line["step"], line["validation"]["ndcg_10"]) for line in lines if "validation" in line],
        ),
    ):
        history = tracking.client.get_metric_history(logged.info.run_id, name)
        assert [(point.step, point.value) for point in history] == expected and len(expected) > 1


def test_the_windows_are_data_sets_of_the_pinned_version(logged: Run, run: Path) -> None:
    traced = json.loads((run / "run.json").read_text())
    found = {item.tags[0].value: item.dataset for item in logged.inputs.dataset_inputs}
    assert found.keys() == {"train", "validation", "test"}
    for dataset in found.values():
        source = json.loads(dataset.source)
        assert dataset.source_type == "delta_table" and source["path"] == traced["table"]["path"]
        assert source["delta_table_version"] == str(traced["table"]["version"])
    profile = json.loads(found["validation"].profile)
    assert (profile["start"], profile["end"]) == (
        traced["splits"]["train_end"],
        traced["splits"]["valid_end"],
    )


def test_the_version_tells_its_lineage_and_has_its_card(tracking: Tracking, logged: Run, run: Path) -> None:
    version = find(tracking.client, "next")
    assert version.run_id == logged.info.run_id and version.current_stage in (None, "None")
    assert version.tags["seqloom.config"] == load_config(run / "config.toml").fingerprint
    assert "seqloom.table_versions" in version.tags and "seqloom.commit" in version.tags
    card = mlflow.artifacts.load_text(f"runs:/{logged.info.run_id}/card.md")
    assert version.description == card
    every = json.loads((run / "test.json").read_text())["all"]
    assert f"| all targets | {every['targets']:,.0f} | {every['ndcg_10']:.4f} | 0.0000 |" in card
    assert "| control run-" in card and "## Limits" in card and "before 1970-01-01T00:01:00+00:00" in card


def test_the_registered_model_is_the_fitted_one(tracking: Tracking, logged: Run, run: Path) -> None:
    version = find(tracking.client, "next")
    held = contestant_of(version, "v1")
    best = torch.load(run / "best.pt", weights_only=True)["weights"]
    weights = held.model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in best.items())
    assert weights_digest(weights) == version.tags["seqloom.weights_sha256"]
    model = mlflow.models.get_model_info(uri(version))
    assert model.signature is not None and model.signature.inputs is not None
    assert model.saved_input_example_info is not None
    assert logged.outputs.model_outputs[0].model_id == model.model_id
    figures = {metric.key for metric in tracking.client.get_logged_model(model.model_id).metrics}
    assert {"test/hr_10", "best/ndcg_10"} <= figures and not any(key.startswith("train/") for key in figures)


def test_a_run_is_registered_once(tracking: Tracking, logged: Run, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "moved")
    again = register(tracking, tmp_path / "moved", "next")
    assert (again["version"], again["new"], again["run_id"]) == (1, False, logged.info.run_id)
    other = register(tracking, run, "other-name")
    assert (other["version"], other["new"]) == (1, True) and other["run_id"] != logged.info.run_id
    assert len(tracking.client.search_runs([tracking.experiment])) == 2


def test_a_run_that_was_logged_whole_only_gets_its_version(
    tracking: Tracking, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_in("create_model_version", tracking, run, monkeypatch)
    (logged,) = tracking.client.search_runs([tracking.experiment])
    assert register(tracking, run, "next")["run_id"] == logged.info.run_id


def test_another_seed_is_another_version(tracking: Tracking, logged: Run, fit: Fit) -> None:
    assert register(tracking, fit(SASREC, "seed=5"), "next")["version"] == 2


def test_what_was_logged_in_part_is_logged_anew(
    tracking: Tracking, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_in("log_text", tracking, run, monkeypatch)
    assert not tracking.client.search_model_versions("name='next'")
    summary = register(tracking, run, "next")
    assert summary["version"] == 1
    ended = {one.info.run_id: one.info.status for one in tracking.client.search_runs([tracking.experiment])}
    assert ended.pop(summary["run_id"]) == "FINISHED" and list(ended.values()) == ["FAILED"]


def fail_in(call: str, tracking: Tracking, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Register a run on a disk that is full when MLflow's client is asked for ``call``."""
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, call, _full_disk)
        with pytest.raises(OSError, match="full"):
            register(tracking, run, "next")


def _full_disk(*_: object, **__: object) -> None:
    raise OSError("the disk is full")


def test_a_dirty_commit_is_told_apart(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    traced = json.loads((tmp_path / "run/run.json").read_text())
    for code, expected in (("abc+changed", ("abc", True)), ("abc", ("abc", False)), (None, (None, False))):
        (tmp_path / "run/run.json").write_text(json.dumps(traced | {"code_commit": code}))
        found = read_finished(tmp_path / "run")
        assert (found.commit, found.dirty) == expected


def test_what_is_no_finished_run_is_refused(command: Command, run: Path, tmp_path: Path) -> None:
    status, summary, told = command("register", "--run", tmp_path / "none", "--name", "next")
    assert (status, summary) == (2, {}) and "holds no finished run; name the output folder" in told
    shutil.copytree(run, tmp_path / "cut")
    summary_file = tmp_path / "cut/summary.json"
    summary_file.write_text(json.dumps(json.loads(summary_file.read_text()) | {"status": "interrupted"}))
    status, _, told = command("register", "--run", tmp_path / "cut", "--name", "next")
    assert status == 2 and "the run was interrupted; finish it with" in told and "--resume" in told
