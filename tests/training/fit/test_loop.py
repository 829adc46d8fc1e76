"""The loop: determinism, accumulation, stages, early stopping, what it refuses."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.training.fit.toy import MemoryLoader, ToyModel, config, held_out_loss, rows, same_weights, train
from training.batch import Batch
from training.errors import DataError, TrainingError
from training.fit.checkpoint import read_whole
from training.fit.run_folder import RunFolder
from training.model import Loss


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    first, second, other = (
        train(tmp_path / name, config(tmp_path, seed=seed))[1]
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert same_weights(first, second)
    assert not same_weights(first, other)


def test_validation_draws_leave_training_as_it_is(tmp_path: Path) -> None:
    often = train(tmp_path / "a", config(tmp_path, validation__every=1))[1]
    never = train(tmp_path / "b", config(tmp_path, validation__every=0))[1]
    assert same_weights(often, never)


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_equals_a_bigger_batch(tmp_path: Path, parts: int) -> None:
    held = rows(48, 5)  # rows have unequal numbers of targets, so a mean of means would differ
    trained = []
    for name, size, accumulate in (("whole", 16, 1), ("parts", 16 // parts, parts)):
        own = config(tmp_path, training__accumulate=accumulate, training__steps=9, seed=2)
        loader = MemoryLoader(held, size, shuffle=False)
        trained.append(train(tmp_path / name, own, loader=loader, model=_still())[1])
    for (name, one), other in zip(trained[0].named_parameters(), trained[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-6, msg=lambda m, name=name: f"{name}: {m}")


def test_training_learns(tmp_path: Path) -> None:
    own = config(tmp_path, training__steps=80, training__learning_rate=1e-2, validation__every=0)
    train(tmp_path, own, model=_still(), loader=MemoryLoader(rows(6, 3), 6))
    lines = [line["loss"] for line in RunFolder(tmp_path).history()]
    assert lines[-1] < 0.6 * lines[0]


def test_stages_are_told_every_step_once(tmp_path: Path) -> None:
    _, model = train(tmp_path, config(tmp_path, training__steps=7))
    assert model.stages == [(step, 7) for step in range(7)]


def test_early_stopping_keeps_the_best_weights(tmp_path: Path) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def validate(model: nn.Module, watch: Any) -> dict[str, float]:
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"ndcg_10": [0.3, 0.4, 0.35, 0.36, 0.5, 0.6][len(seen) - 1]}

    own = config(tmp_path, training__steps=60, validation__patience=2)
    outcome, _ = train(tmp_path, own, validate=validate)
    assert outcome.status == "stopped_early"
    assert outcome.progress.step == 24  # validations at 6, 12, 18 and 24; the two after 12 are worse
    assert (outcome.stopper.best, outcome.stopper.best_step) == (0.4, 12)
    best = read_whole(RunFolder(tmp_path).best)
    assert best["step"] == 12
    assert all(torch.equal(best["weights"][name], value) for name, value in seen[1].items())


def test_metrics_hold_every_report(tmp_path: Path) -> None:
    train(tmp_path, config(tmp_path, training__steps=12))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 6, 10, 12, 12]
    assert [line["step"] for line in lines if "validation" in line] == [6, 12]
    figures = {"loss", "next", "samples_per_second", "waiting", "learning_rate", "seconds", "step"}
    assert set(lines[0]) == figures
    assert 0 <= lines[0]["waiting"] <= 1


def test_samples_are_targets(tmp_path: Path) -> None:
    held = rows(10, 8)
    outcome, _ = train(tmp_path, config(tmp_path, training__steps=2), loader=MemoryLoader(held, 5))
    assert outcome.progress.samples == int(held.loss_mask.sum())


def test_a_loss_that_is_not_finite_ends_the_run_and_is_not_saved(tmp_path: Path) -> None:
    class Broken(ToyModel):
        def training_loss(self, batch: Batch) -> Loss:
            loss = super().training_loss(batch)
            return Loss(loss.total * (math.nan if len(self.stages) > 7 else 1.0), {})

    with pytest.raises(TrainingError, match=r"not finite at step .*lower training\.learning_rate"):
        train(tmp_path, config(tmp_path), model=Broken())
    names = [path.name for path in RunFolder(tmp_path).checkpoints.iterdir()]
    assert names == ["step-00000005.pt"]


def test_an_empty_training_window_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no target"):
        train(tmp_path, config(tmp_path), loader=MemoryLoader(rows(0, 1), 4))


def test_a_metric_of_a_slice_without_targets_is_named(tmp_path: Path) -> None:
    own = config(tmp_path, validation__metric="hopping/hr_10")
    with pytest.raises(DataError, match=r"hopping/hr_10.*has no such target; measured: loss, ndcg_10"):
        train(tmp_path, own, validate=held_out_loss)


@pytest.mark.slow
def test_the_compiled_model_trains_as_the_plain_one(tmp_path: Path) -> None:
    plain = train(tmp_path / "a", config(tmp_path, training__steps=4), model=_still())[1]
    own = config(tmp_path, training__steps=4, hardware__compile=True)
    compiled = train(tmp_path / "b", own, model=_still())[1]
    for one, other in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def _still() -> ToyModel:
    torch.manual_seed(0)
    return ToyModel(dropout=0.0)
