"""One cell of a grid: train a model on a bundle, test it, and say what it cost."""

import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from lightning_fabric import Fabric
from torch import nn

from training.batch import Batch, all_targets
from training.evaluate.experiment import Outcome
from training.experiments.bundle import Bundle
from training.experiments.memory import MemoryLoader
from training.fit import random_state
from training.fit.batches import batcher
from training.fit.build import build, parameters
from training.fit.config import Config
from training.fit.device import make_fabric
from training.fit.fitted import load_best
from training.fit.load import to_toml
from training.fit.loop import Training
from training.fit.measure import measure, negatives_for, validator
from training.fit.models import Counted
from training.fit.run_folder import RunFolder
from training.fit.signals import CutShortError, Stop
from training.flops import forward_flops, one_target

FLOPS_AT: Final = 256
"""Events before the target whose FLOPs are reported (``training.flops``)."""


def run_cell(config: Config, bundle: Bundle, stop: Stop) -> Outcome:
    """The test's results per target, their summary, and the model's parameters and speed."""
    fabric = make_fabric(config.hardware)
    random_state.seed_everything(config.seed)
    model = build(config.model, bundle.vocabulary)
    counts = parameters(model)
    facts = {
        "parameters": float(counts["all"]),
        "parameters_besides_embeddings": float(counts["besides_embeddings"]),
    }
    if isinstance(config.model, Counted):
        facts |= _count(model, bundle)
    else:
        facts |= _train(fabric, config, model, bundle, stop)
        asked = one_target(bundle.vocabulary.sizes, FLOPS_AT)
        facts["mflops"] = forward_flops(model.cpu(), *asked) / 1e6
    negatives = negatives_for(config, bundle.vocabulary)
    tested = measure(
        model.to(fabric.device),
        bundle.test,
        fabric.device,
        bundle.facts,
        negatives,
        watch=iter,  # a trained cell is finished, whatever signal comes
        calibrate_on=bundle.valid,
    )
    facts["tested_per_second"] = len(tested.frame) / tested.seconds
    return Outcome(tested.frame, tested.summary, facts)


def _train(fabric: Fabric, config: Config, model: nn.Module, bundle: Bundle, stop: Stop) -> dict[str, float]:
    """Train to the best validation and leave those weights in the model."""
    folder = RunFolder(Path(config.output))
    shutil.rmtree(folder.root, ignore_errors=True)  # cells are begun anew, never resumed half way
    folder.begin(to_toml(config), dict(bundle.about), resume=False)
    training = Training(
        fabric,
        model,
        loader=MemoryLoader(dict(bundle.train), batcher(config, bundle.vocabulary)(), config.seed),
        validate=validator(
            bundle.valid, fabric.device, bundle.facts, negatives_for(config, bundle.vocabulary)
        ),
        config=config,
        folder=folder,
        stop=stop,
    )
    found = training.run()
    if found.status == "interrupted":
        raise CutShortError
    best = load_best(folder, model, config)
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
