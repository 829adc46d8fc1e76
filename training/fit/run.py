"""One run of ``python -m training.fit``, from a configuration to its summary."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.errors import ConfigError
from training.fit import random_state
from training.fit.build import build, parameters
from training.fit.checkpoint import require_same_config
from training.fit.config import Config
from training.fit.data import Opened, open_data, session_facts
from training.fit.device import make_fabric
from training.fit.finish import Run, measure_test, summarise
from training.fit.fitted import save_best
from training.fit.lineage import instant, lineage
from training.fit.load import load_config, to_toml
from training.fit.loading import training_loader
from training.fit.loop import Outcome, Progress, Training, Validate
from training.fit.measure import negatives_for, require_metric, validator
from training.fit.models import Counted, is_click
from training.fit.progress import Reporter
from training.fit.ranks import first_rank_first
from training.fit.run_folder import RunFolder
from training.fit.signals import CutShortError, listening
from training.fit.stopping import Stopper
from training.losses import FULL_SOFTMAX_ITEMS


def run_fit(config: Config, resume: bool) -> tuple[dict[str, Any], int]:
    """Fit as configured: the summary, and the number of the signal that ended the run early, else 0."""
    require_metric(config)
    fabric = make_fabric(config.hardware)
    fabric.launch()
    report, folder = Reporter(fabric.is_global_zero), RunFolder(Path(config.output))
    report.say("opening the data …")
    opened = first_rank_first(fabric, lambda: _open(config, folder, resume or not fabric.is_global_zero))
    config = config.pinned(opened.table.version)
    random_state.seed_everything(config.seed)
    model = build(config.model, opened.vocabulary)
    _introduce(report, config, opened, model)
    _warn_of_threads(report, folder)
    report.say("reading sessions and the validation window …")
    facts = session_facts(opened.table)
    validation = opened.held_out(opened.splits.valid, config.validation.targets, config.data.tokens)
    with listening() as stop:
        run = Run(fabric, config, folder, opened, facts, validation, report, stop)
        outcome = _count(run, model) if isinstance(config.model, Counted) else _train(run, model)
        if outcome.status != "interrupted":
            outcome = measure_test(run, model, outcome)
    return summarise(run, model, outcome), stop.signal_number if outcome.status == "interrupted" else 0


def _open(config: Config, folder: RunFolder, resume: bool) -> Opened:
    """The data, at the version and with the vocabulary that a resumed run began with."""
    if not resume:
        folder.require_new()
    begun = folder.read("run.json") if folder.config.exists() else None
    version = None if config.data.version == "latest" else config.data.version
    if begun is not None:
        version = begun["table"]["version"] if version is None else version
        then, asked = load_config(folder.config).pinned(begun["table"]["version"]), config.pinned(version)
        require_same_config(then.identity, asked.identity, folder.root)
    opened = open_data(config.data, version, folder.vocabulary if begun is not None else None)
    if begun is None:
        traced = lineage(opened.table, opened.splits, opened.vocabulary)
        folder.create()
        opened.vocabulary.save(folder.vocabulary)
        folder.begin(to_toml(config.pinned(opened.table.version)), traced, resume)
    return opened


def _warn_of_threads(report: Reporter, folder: RunFolder) -> None:
    """Sums depend on the number of threads in their last bits."""
    then, now = (folder.read("run.json") or {}).get("cpu_threads"), torch.get_num_threads()
    if then != now:
        report.say(
            f"begun with {then} CPU threads, now {now}: the weights may differ in their last bits from those "
            f"of an uninterrupted run; OMP_NUM_THREADS={then} keeps them the same"
        )


def _introduce(report: Reporter, config: Config, opened: Opened, model: nn.Module) -> None:
    """Say what is about to be trained on what."""
    table, sizes, counts = opened.table, opened.vocabulary.sizes, parameters(model)
    report.say(f"{table.path} version {table.version} · {table.rows:,} rows · {sizes.items:,} item codes")
    report.say(
        f"train before {instant(opened.splits.train_end)} · validate before "
        f"{instant(opened.splits.valid_end)} · test before {instant(opened.splits.end)}"
    )
    report.say(
        f"{config.model.name} · {counts['all']:,} parameters, {counts['besides_embeddings']:,} besides "
        f"embeddings · {_objective(config, sizes.items)} · seed {config.seed} · output {config.output}"
    )


def _objective(config: Config, items: int) -> str:
    if isinstance(config.model, Counted):
        return "counts"
    if is_click(config.model):
        return f"{config.data.candidates.drawn} {config.data.candidates.negatives} negatives a target"
    sampled = items > FULL_SOFTMAX_ITEMS
    return f"sampled softmax, {config.data.negatives} negatives" if sampled else "full softmax"


def _train(run: Run, model: nn.Module) -> Outcome:
    """Train by gradients and keep the weights that validate best."""
    fabric = run.fabric
    loader = training_loader(run.opened, run.config, fabric)
    training = Training(
        fabric,
        model,
        loader=loader,
        validate=_validator(run),
        config=run.config,
        folder=run.folder,
        stop=run.stop,
        report=run.report,
    )
    return training.run()


def _count(run: Run, model: Any) -> Outcome:
    """Count the training window in one pass: for models without parameters."""
    data, began = run.config.data, time.perf_counter()
    if run.fabric.world_size > 1:
        raise ConfigError(f"{run.config.model.name} counts in one pass; set hardware.devices = 1")
    source, splits = run.opened.source, run.opened.splits
    stopper = Stopper(run.config.metric, patience=0)
    try:
        model.fit(run.stop.watch(source.batches(splits.train, data.tokens)))
        progress = Progress(seconds=time.perf_counter() - began)
        figures = _validator(run)(model, run.stop.watch)
    except CutShortError:
        return Outcome("interrupted", Progress(), stopper)
    save_best(run.folder.best, model, 0, figures)
    return Outcome("done", progress, stopper.after(stopper.value_in(figures), 0))


def _validator(run: Run) -> Validate:
    negatives = negatives_for(run.config, run.opened.vocabulary)
    return validator(run.validation, run.fabric.device, run.facts, negatives)
