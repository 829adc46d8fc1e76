"""The best weights of a run, and the model with them, as others load it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from training.errors import DataError
from training.fit.build import build
from training.fit.checkpoint import read_whole, write_whole
from training.fit.config import Config
from training.fit.load import load_config
from training.fit.objective import on_step
from training.fit.run_folder import RunFolder
from training.vocabulary import TrainVocabulary


@dataclass(frozen=True)
class Fitted:
    """A fitted model and what it needs to be asked."""

    model: nn.Module
    vocabulary: TrainVocabulary
    config: Config
    step: int  # after which the weights were best
    validation: dict[str, float]


def save_best(path: Path, model: nn.Module, step: int, validation: Mapping[str, float]) -> None:
    """Write the weights as they are after ``step``, with what validation said of them."""
    write_whole(path, {"step": step, "weights": model.state_dict(), "validation": dict(validation)})


def load_fitted(folder: str | Path) -> Fitted:
    """The model of a run's folder with its best weights, on the CPU and in evaluation mode.

    Raises DataError where the folder holds no fitted run.
    """
    run = RunFolder(Path(folder))
    if not run.best.exists() or not run.config.exists():
        raise DataError(f"{folder}: holds no fitted model; name the output folder of a finished run")
    config, vocabulary = load_config(run.config), TrainVocabulary.load(run.vocabulary)
    model = build(config.model, vocabulary)
    best = load_best(run, model, config)
    return Fitted(model.eval(), vocabulary, config, best["step"], best["validation"])


def load_best(run: RunFolder, model: nn.Module, config: Config) -> dict[str, Any]:
    """Give a model the best weights, in the stage of training in which they were best."""
    best = read_whole(run.best)
    restore(model, best["weights"], best["step"], config)
    return {"step": best["step"], "validation": best["validation"]}


def restore(model: nn.Module, weights: Mapping[str, Any], step: int, config: Config) -> None:
    """Give a model the weights after ``step``, in that stage of its training."""
    model.load_state_dict(weights)
    if step > 0:
        on_step(model, step - 1, config.training.steps)
