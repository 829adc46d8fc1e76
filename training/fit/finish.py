"""The end of a run: its best weights on the test window, its summary and its curves."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import nn

from training.batch import Batch
from training.evaluate.sessions import SessionFacts
from training.fit.build import parameters
from training.fit.checkpoint import read_whole
from training.fit.config import Config
from training.fit.curves import draw_curves
from training.fit.data import Opened
from training.fit.fitted import load_best
from training.fit.loop import Outcome
from training.fit.measure import measure, negatives_for
from training.fit.progress import Reporter
from training.fit.run_folder import RunFolder
from training.fit.signals import CutShortError, Stop


@dataclass(frozen=True)
class Run:
    """What a run works with."""

    fabric: Fabric
    config: Config
    folder: RunFolder
    opened: Opened
    facts: SessionFacts
    validation: list[Batch]
    report: Reporter
    stop: Stop


def measure_test(run: Run, model: nn.Module, outcome: Outcome) -> Outcome:
    """Measure the best weights on the test window, by slice, into ``test.json``, and keep each target's."""
    targets, data = run.config.test.targets, run.config.data
    if not targets or not run.fabric.is_global_zero:
        return outcome
    began = time.perf_counter()
    run.report.say("measuring the best weights on the test window …")
    load_best(run.folder, model, run.config)
    held_out = run.opened.held_out(run.opened.splits.test, targets, data.tokens)
    negatives = negatives_for(run.config, run.opened.vocabulary)
    try:
        found = measure(
            model,
            held_out,
            run.fabric.device,
            run.facts,
            negatives,
            watch=run.stop.watch,
            calibrate_on=run.validation,
        )
    except CutShortError:
        return outcome._replace(status="interrupted")
    run.folder.write_targets(found.frame)
    run.folder.write("test.json", found.summary)
    run.report.test(found.summary["all"], time.perf_counter() - began)
    return outcome


def summarise(run: Run, model: nn.Module, outcome: Outcome) -> dict[str, Any]:
    """What is printed last and kept in ``summary.json``; draws the curves as well."""
    status, progress, stopper = outcome
    config, folder = run.config, run.folder
    title = f"{config.model.name} · {Path(config.output).name} · seed {config.seed}"
    test = folder.read("test.json") if status != "interrupted" else None
    best = read_whole(folder.best) if status != "interrupted" else None
    busy = max(progress.seconds, 1e-9)
    summary = {
        "status": status,
        "output": config.output,
        "model": config.model.name,
        "seed": config.seed,
        "table_version": config.data.version,
        "parameters": parameters(model)["all"],
        "steps": progress.step,
        "best_step": stopper.best_step,
        "metric": stopper.metric,
        "best": stopper.best,
        "validation": _of_all_targets(best["validation"]) if best else None,
        "test": test["all"] if test else None,
        "samples": progress.samples,
        "samples_per_second": round(progress.samples / busy, 1),
        "waiting": round(progress.waited / busy, 4),
        "seconds": round(progress.seconds, 1),
        "device": str(run.fabric.device),
    }
    if run.fabric.is_global_zero:
        folder.write("summary.json", summary)
        draw_curves(folder.history(), stopper, title, folder.root / "curves.png")
    return summary


def _of_all_targets(figures: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if "/" not in name}
