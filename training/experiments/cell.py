"""One cell of a grid: train a model on a bundle, test it, and say what it cost."""

import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from training.batch import Batch, all_targets
from training.batching import Asked, Batcher, TokenBatches
from training.errors import TrainingError
from training.evaluate.experiment import Outcome
from training.evaluate.run import evaluate
from training.experiments.bundle import Bundle
from training.experiments.memory import MemoryLoader
from training.fit import random_state
from training.fit.build import build, parameters
from training.fit.checkpoint import read_whole
from training.fit.config import Config
from training.fit.device import make_fabric
from training.fit.loop import Training
from training.fit.measure import validator
from training.fit.models import Counted, Ulim
from training.fit.objective import as_model, on_step
from training.fit.run_folder import RunFolder
from training.fit.signals import Stop
from training.groups import GroupBatches, GroupRule
from training.in_category import InCategory
from training.negatives import SharedNegatives


def run_cell(config: Config, bundle: Bundle, stop: Stop) -> Outcome:
    """The test's results per target, their summary, and the model's parameters and speed."""
    fabric = make_fabric(config.hardware)
    random_state.seed_everything(config.seed)
    model = build(config.model, bundle.vocabulary)
    facts: dict[str, float] = {
        name if name == "all" else f"parameters_{name}": float(count)
        for name, count in parameters(model).items()
    }
    facts["parameters"] = facts.pop("all")
    if isinstance(config.model, Counted):
        facts |= _count(model, bundle)
    else:
        facts |= _train(fabric, config, model, bundle, stop)
    model.to(fabric.device)
    began = time.perf_counter()
    result = evaluate(as_model(model), bundle.test, fabric.device, bundle.facts)
    facts["tested_per_second"] = len(result.frame) / (time.perf_counter() - began)
    return Outcome(result.frame, result.summary, facts)


def batcher(config: Config, bundle: Bundle) -> Batcher:
    """What the model learns from: groups of one category for ULIM, rows of about ``tokens`` places else."""
    count = torch.tensor(bundle.vocabulary.items.count)
    shared = SharedNegatives(count, config.data.negatives)
    if isinstance(config.model, Ulim):
        category = torch.tensor(bundle.vocabulary.item_category)
        return GroupBatches(GroupRule(), InCategory(count, category), shared)
    rows = sum(len(part.length) for part in bundle.train.values())
    return TokenBatches(config.data.tokens, rows, Asked(shared))


def _train(fabric: Fabric, config: Config, model: nn.Module, bundle: Bundle, stop: Stop) -> dict[str, float]:
    """Train to the best validation and leave those weights in the model."""
    folder = RunFolder(Path(config.output))
    shutil.rmtree(folder.root, ignore_errors=True)  # cells are begun anew, never resumed half way
    folder.begin(config.model_dump_json(), dict(bundle.about), resume=False)
    training = Training(
        fabric,
        model,
        loader=MemoryLoader(dict(bundle.train), batcher(config, bundle), config.seed),
        validate=validator(bundle.valid, fabric.device, bundle.facts),
        config=config,
        folder=folder,
        stop=stop,
    )
    found = training.run()
    if found.status == "interrupted":
        raise TrainingError(f"{folder.root}: interrupted; run the grid again to begin this cell anew")
    best = read_whole(folder.best)
    model.load_state_dict(best["weights"])
    on_step(model, best["step"], config.training.steps)
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    progress = found.progress
    return {
        "steps": float(progress.step),
        "best_step": float(best["step"]),
        "train_seconds": progress.seconds,
        "samples_per_second": progress.samples / max(progress.seconds, 1e-9),
    }


def _count(model: Any, bundle: Bundle) -> dict[str, float]:
    began = time.perf_counter()
    model.fit(_all_rows(bundle))
    return {"train_seconds": time.perf_counter() - began}


def _all_rows(bundle: Bundle) -> Iterable[Batch]:
    return (Batch(rows, all_targets(rows)) for rows in bundle.train.values())
