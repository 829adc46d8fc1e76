"""Runs as processes of their own: signals, and several ranks."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.fit.toy import MemoryLoader, ToyModel, config, rows, train

ROOT = Path(__file__).resolve().parents[3]


def _start(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.training.fit.toy_run", str(folder), *words]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=env)


def _finish(process: subprocess.Popen[str]) -> str:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return errors


def _kill_at(process: subprocess.Popen[str], text: str, number: int) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            process.send_signal(number)
            return
    pytest.fail(f"the run ended without saying {text!r}")


def _left(folder: Path, rank: int = 0) -> Any:
    return torch.load(folder / f"rank-{rank}.pt", weights_only=True)


def _equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_saves_and_a_later_process_goes_on_to_the_same_weights(tmp_path: Path, number: int) -> None:
    _finish(_start(tmp_path / "whole"))
    process = _start(tmp_path / "cut", "--pause", "0.05")
    _kill_at(process, "step 9/", number)
    errors = _finish(process)
    assert "saving after this step" in errors
    stopped = _left(tmp_path / "cut")
    assert stopped["status"] == "interrupted"
    assert 9 <= stopped["steps"] < 24
    assert "resumed after step" in _finish(_start(tmp_path / "cut"))
    assert _equal(_left(tmp_path / "cut")["weights"], _left(tmp_path / "whole")["weights"])


@pytest.mark.slow
def test_a_killed_process_loses_only_the_steps_since_its_checkpoint(tmp_path: Path) -> None:
    _finish(_start(tmp_path / "whole"))
    process = _start(tmp_path / "cut", "--pause", "0.05")
    _kill_at(process, "step 13/", signal.SIGKILL)
    process.communicate(timeout=60)
    assert "resumed after step 10 of 24" in _finish(_start(tmp_path / "cut"))
    assert _equal(_left(tmp_path / "cut")["weights"], _left(tmp_path / "whole")["weights"])


@pytest.mark.slow
def test_two_ranks_take_equal_steps_to_equal_weights_of_the_bigger_batch(tmp_path: Path) -> None:
    """Without dropout, two ranks of 4 rows are one of 8: rows are dealt in turn from one order."""
    words = ("--devices", "2", "--size", "4", "--dropout", "0", "--steps", "6")
    _finish(_start(tmp_path, *words))
    first, second = _left(tmp_path), _left(tmp_path, 1)
    assert first["steps"] == second["steps"] == 6
    assert _equal(first["weights"], second["weights"])

    torch.manual_seed(0)  # rank 0's beginning
    own = config(tmp_path, training__steps=6)
    _, alone = train(tmp_path / "alone", own, model=ToyModel(0.0), loader=MemoryLoader(rows(50, 1), 8))
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(first["weights"][name], value, rtol=2e-5, atol=2e-6)


@pytest.mark.slow
def test_two_ranks_resume_to_the_same_weights(tmp_path: Path) -> None:
    words = ("--devices", "2", "--size", "4", "--steps", "12")
    _finish(_start(tmp_path / "whole", *words))
    process = _start(tmp_path / "cut", *words, "--pause", "0.05")
    _kill_at(process, "step 4/", signal.SIGTERM)  # only rank 0 is told
    _finish(process)
    assert _left(tmp_path / "cut", 1)["status"] == "interrupted"
    assert _left(tmp_path / "cut", 1)["steps"] == _left(tmp_path / "cut")["steps"] < 12
    _finish(_start(tmp_path / "cut", *words))
    assert _equal(_left(tmp_path / "cut", 1)["weights"], _left(tmp_path / "whole")["weights"])
