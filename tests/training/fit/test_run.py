"""The command from end to end, on a small published table read through Petastorm."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from deltalake import DeltaTable

from tests.training.configs import config_text
from tests.training.gold import gold_rows, publish, random_users, write_gold
from training.fit.__main__ import main
from training.fit.checkpoint import files, read
from training.fit.fitted import load_fitted
from training.fit.loop import Training
from training.fit.run_folder import RunFolder


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("warehouse")
    publish(root, write_gold(root / "gold/user_sequences", gold_rows(random_users(4, 24))))
    return root


@pytest.fixture
def command(warehouse: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Any:
    """Calls the command; its exit status, its summary and what it told."""
    config = tmp_path / "small.toml"
    config.write_text(config_text(warehouse, tmp_path / "run"))

    def call(*words: str) -> tuple[int, dict[str, Any], str]:
        status = main(["--config", str(config), *words])
        out, err = capfd.readouterr()
        lines = out.strip().splitlines()
        return status, json.loads(lines[-1]) if lines else {}, err

    return call


def test_a_run_leaves_everything_that_explains_it(command: Any, warehouse: Path, tmp_path: Path) -> None:
    status, summary, told = command()
    run = tmp_path / "run"
    assert status == 0
    names = {path.name for path in run.iterdir()}
    assert names == {
        "config.toml", "run.json", "vocabulary.parquet", "metrics.jsonl", "curves.png", "best.pt",
        "test.json", "test_targets.parquet", "summary.json", "checkpoints",
    }  # fmt: skip
    assert summary == json.loads((run / "summary.json").read_text())
    assert (summary["status"], summary["steps"]) == ("done", 8)
    assert summary["table_version"] == DeltaTable(str(warehouse / "gold/user_sequences")).version()
    traced = json.loads((run / "run.json").read_text())
    assert traced["table"]["version"] == summary["table_version"]
    assert traced["splits"]["train_end"] == "1970-01-01T00:01:00+00:00"
    assert f"version = {summary['table_version']}" in (run / "config.toml").read_text()
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert summary["best"] == summary["validation"]["ndcg_10"]
    assert json.loads((run / "test.json").read_text())["all"] == summary["test"]
    assert "step 8/8" in told
    assert "full softmax" in told


def test_the_fitted_model_scores_as_in_the_run(command: Any, tmp_path: Path) -> None:
    command()
    fitted = load_fitted(tmp_path / "run")
    best = torch.load(tmp_path / "run/best.pt", weights_only=True)
    assert fitted.step == best["step"]
    assert not fitted.model.training
    weights = fitted.model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in best["weights"].items())
    assert fitted.vocabulary.sizes.items == len(weights["embed.item.weight"])


def test_the_same_command_twice_gives_the_same_weights(command: Any, tmp_path: Path) -> None:
    command()
    command("--set", f"output={tmp_path}/again")
    assert _same_weights(tmp_path / "run", tmp_path / "again")
    command("--set", f"output={tmp_path}/other", "--set", "seed=5")
    assert not _same_weights(tmp_path / "run", tmp_path / "other")


def test_its_own_config_repeats_a_run(command: Any, tmp_path: Path) -> None:
    command()
    status = main(["--config", str(tmp_path / "run/config.toml"), "--set", f"output={tmp_path}/again"])
    assert status == 0
    assert _same_weights(tmp_path / "run", tmp_path / "again")


@pytest.mark.parametrize("model", ["sasrec", "mos", "ulim"])
def test_a_signal_in_the_middle_of_an_epoch_and_resuming(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """Through Petastorm's threads and with a published table that moves on in between."""
    own = ("--set", f"model.name={model}", "--set", "training.steps=14")
    command(*own)
    step = Training._step

    def signalled(self: Training, *rest: Any) -> None:
        step(self, *rest)
        if self.progress.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    cut = (*own, "--set", f"output={tmp_path}/cut")
    others = set(threading.enumerate())  # of this test's first run, and of other tests' servers
    with monkeypatch.context() as patch:
        patch.setattr(Training, "_step", signalled)
        status, summary, told = command(*cut)
    assert (status, summary["status"], summary["steps"]) == (128 + signal.SIGTERM, "interrupted", 5)
    assert "saving after this step" in told
    assert set(threading.enumerate()) <= others, "the loader's threads have ended"
    status, summary, told = command(*cut, "--resume")
    assert (status, summary["status"], summary["steps"]) == (0, "done", 14)
    assert "resumed after step 5 of 14" in told
    assert _same_weights(tmp_path / "run", tmp_path / "cut")


def test_a_resumed_run_keeps_to_the_version_it_began_with(
    command: Any, warehouse: Path, tmp_path: Path
) -> None:
    moved = ("--set", f"data.warehouse={tmp_path}/copy", "--set", "training.steps=4")
    shutil.copytree(warehouse, tmp_path / "copy")
    _, first, _ = command(*moved)
    rows = gold_rows(random_users(9, 6))
    publish(tmp_path / "copy", write_gold(tmp_path / "copy/gold/user_sequences", rows))
    status, again, _ = command(*moved, "--resume")
    assert status == 0
    assert again["table_version"] == first["table_version"]
    _, fresh, _ = command(*moved, "--set", f"output={tmp_path}/fresh")
    assert fresh["table_version"] > first["table_version"]


@pytest.mark.parametrize("model", ["popularity", "transition", "frequency"])
def test_models_that_count_are_measured_alike(command: Any, model: str) -> None:
    status, summary, _ = command("--set", f"model={{name = '{model}'}}")
    assert (status, summary["status"], summary["steps"], summary["parameters"]) == (0, "done", 0, 0)
    assert summary["test"]["targets"] > 0


def test_a_click_model_is_measured_by_candidates(command: Any) -> None:
    status, summary, _ = command(
        "--set", "model={name = 'din', dim = 8, heads = 1}", "--set", "data.candidates.negatives=uniform"
    )
    assert status == 0
    assert summary["metric"] == "gauc_uniform"
    assert set(summary["test"]) == {
        "targets", "auc_uniform", "gauc_uniform", "log_loss_uniform", "normalised_entropy_uniform",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "data.warehouse=nowhere"], "error: nowhere: no ops/published table"),
        (["--set", "data.min_count=1000"], "error: no item has data.min_count = 1000 events before 1970"),
        (["--set", "data.train_end=1970-01-01"], "error: train_end = 1970-01-01"),
        (["--set", "model.dim=9", "--set", "model.heads=2"], "error: [model]: dim 9"),
        (
            ["--set", "validation.metric=auc"],
            "error: validation.metric = 'auc' is not measured of sasrec; one of",
        ),
        (["--set", "hardware.accelerator=cuda"], "error: hardware: 1 x cuda is not to be had here"),
        (["--set", "output=/proc/none"], "error: output /proc/none: cannot be made"),
        (["--nothing"], "error: unrecognized arguments: --nothing; see --help"),
    ],
)
def test_faults_end_with_status_2_and_one_line(command: Any, words: list[str], message: str) -> None:
    status, summary, told = command(*words)
    assert (status, summary) == (2, {})
    assert told.splitlines()[-1].startswith(message)
    assert "Traceback" not in told


def test_a_folder_with_a_run_is_not_written_over(command: Any, tmp_path: Path) -> None:
    command("--set", "training.steps=4")
    before = (tmp_path / "run/best.pt").read_bytes()
    status, _, told = command("--set", "training.steps=4", "--set", "seed=2")
    assert status == 2
    assert "holds a run already; pass --resume" in told
    status, _, told = command("--set", "training.steps=4", "--set", "seed=2", "--resume")
    assert status == 2
    assert "seed was 17, is 2" in told
    assert (tmp_path / "run/best.pt").read_bytes() == before


def test_a_counting_model_is_resumed_by_its_own_configuration_only(command: Any, tmp_path: Path) -> None:
    """It has no checkpoint, but the vocabulary in its folder has counted up to its train_end."""
    command("--set", "model={name = 'popularity'}")
    earlier = ["--set", "model={name = 'frequency'}", "--set", "data.train_end=1970-01-01T00:00:50Z"]
    status, _, told = command(*earlier, "--resume")
    assert status == 2
    assert "model.name was popularity, is frequency" in told and "data.train_end was" in told
    assert load_fitted(tmp_path / "run").config.model.name == "popularity"


@pytest.mark.parametrize("metric", ["hr_11", "gauc_popularity", "hop/hr_10", "hopping/mrr_10"])
def test_a_metric_that_is_not_measured_is_named_at_once(command: Any, tmp_path: Path, metric: str) -> None:
    status, _, told = command("--set", f"validation.metric={metric}")
    assert status == 2 and f"validation.metric = '{metric}' is not measured of sasrec; one of hr_10" in told
    assert not (tmp_path / "run").exists()


def test_resume_begins_where_there_is_nothing_yet(command: Any) -> None:
    status, summary, _ = command("--set", "training.steps=4", "--resume")
    assert (status, summary["status"]) == (0, "done")


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "python -m training.fit --config conf/train/mos.toml --resume" in capsys.readouterr().out


def _process(config: Path, *words: str) -> dict[str, Any]:
    """The summary of the command as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "training.fit", "--config", str(config), *words],
        # oneDNN's AMX code for bf16 ends the process where a sandbox forbids those instructions
        env=os.environ | {"OMP_NUM_THREADS": "1", "ONEDNN_MAX_CPU_ISA": "AVX2"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = (text for text in done.stdout.splitlines() if text.startswith("{"))
    summary: dict[str, Any] = json.loads(line)
    return summary


@pytest.mark.slow
def test_two_devices_train_and_resume_through_the_loader(command: Any, tmp_path: Path) -> None:
    """The ranks' processes run the command themselves."""
    own = (tmp_path / "small.toml", "--set", "hardware.devices=2")
    summary = _process(*own)
    assert (summary["status"], summary["steps"]) == ("done", 8)
    assert _process(*own, "--resume")["steps"] == 8
    newest = read(files(RunFolder(tmp_path / "run").checkpoints)[-1])
    assert len(newest.ranks) == 2
    status, _, told = command("--resume")
    assert status == 2
    assert "hardware.devices was 2, is 1" in told


@pytest.mark.slow
def test_bf16_trains_nearly_as_float32(command: Any, tmp_path: Path) -> None:
    command()
    _process(
        tmp_path / "small.toml", "--set", "hardware.precision=bf16-mixed", "--set", f"output={tmp_path}/bf16"
    )
    losses = [RunFolder(tmp_path / name).history()[-2]["loss"] for name in ("run", "bf16")]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def _same_weights(one: Path, other: Path) -> bool:
    newest = [read(files(RunFolder(folder).checkpoints)[-1]) for folder in (one, other)]
    first, second = (checkpoint.weights for checkpoint in newest)
    tensors = {name for name, value in first.items() if isinstance(value, torch.Tensor)}
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in tensors)
