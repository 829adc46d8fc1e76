"""The training loop, from the first step to the last."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from training.errors import TrainingError
from training.fit import checkpoint as checkpoints
from training.fit import random_state
from training.fit.config import Config
from training.fit.feed import Feed, Loader
from training.fit.fitted import save_best
from training.fit.objective import Sealed, Sums, objective, on_step, targets
from training.fit.optimiser import adamw, set_rate
from training.fit.progress import Meter, Reporter
from training.fit.ranks import any_rank, from_all_ranks, sum_over_ranks
from training.fit.run_folder import RunFolder
from training.fit.schedule import learning_rate
from training.fit.signals import CutShortError, Stop
from training.fit.stopping import Stopper

Watch = Callable[[Iterable[Any]], Iterator[Any]]
Validate = Callable[[nn.Module, Watch], Mapping[str, float]]
"""Measures a model on the validation window; passes the batches it goes through to ``Watch``."""

Status = Literal["done", "stopped_early", "interrupted"]


@dataclass(frozen=True)
class Progress:
    """How far a run has come; saved with every checkpoint."""

    step: int = 0  # optimiser steps done
    validated: int = 0  # step of the last validation
    samples: int = 0  # targets trained on, by all ranks
    seconds: float = 0.0  # of training, validation left out, over all resumptions
    waited: float = 0.0  # seconds of those in which rank 0 was blocked on its loader


class Outcome(NamedTuple):
    """How a run ended."""

    status: Status
    progress: Progress
    stopper: Stopper


class Training:
    """The training of one model; every rank holds one."""

    def __init__(
        self,
        fabric: Fabric,
        model: nn.Module,
        *,
        loader: Loader,
        validate: Validate,
        config: Config,
        folder: RunFolder,
        stop: Stop,
        report: Reporter | None = None,
    ) -> None:
        self.fabric, self.model, self.loader, self.validate = fabric, model, loader, validate
        self.config, self.folder, self.stop = config, folder, stop
        self.report = report or Reporter(fabric.is_global_zero)
        self.optimiser = adamw(model, config.training.weight_decay, config.training.betas)
        self.objective, _ = fabric.setup(objective(model, config.hardware.compile), self.optimiser)
        self.progress = Progress()
        self.stopper = Stopper(config.metric, config.validation.patience, config.validation.min_delta)
        self._saved = self.progress

    def run(self) -> Outcome:
        """Train to the last step, to the end of patience or to a signal; resume where a checkpoint is."""
        self._resume_or_begin()
        with Feed(self.loader) as feed:
            return self._steps(feed)

    def _steps(self, feed: Feed) -> Outcome:
        steps, sums, meter = self.config.training.steps, Sums(), Meter()
        while True:
            leaving = any_rank(self.fabric, self.stop.asked)
            if not leaving and self._validation_due():
                self._require_finite(sums)
                leaving = self._validate()
                meter = Meter()
            status = self._status(leaving)
            if status or self.progress.step % self.config.checkpoints.every == 0:
                self._require_finite(sums)
                self._save()
            if status:
                if status != "interrupted" and self.stopper.best_step < 0:
                    self._keep_best({})
                return Outcome(status, self.progress, self.stopper)

            self._step(feed, sums, meter)

            if self.progress.step % self.config.log_every == 0 or self.progress.step == steps:
                self._log(sums, meter)
                sums, meter = Sums(), Meter()

    def _step(self, feed: Feed, sums: Sums, meter: Meter) -> None:
        """One optimiser step over ``accumulate`` batches of every rank, each weighed by its targets."""
        settings, began = self.config.training, time.perf_counter()
        step = self.progress.step
        set_rate(self.optimiser, self._rate(step))
        self.model.train()
        on_step(self.model, step, settings.steps)

        batches, waited = feed.take(settings.accumulate)
        counts = [targets(batch) for batch in batches]
        total = sum_over_ranks(self.fabric, sum(counts))
        for place, (batch, count) in enumerate(zip(batches, counts, strict=True), start=1):
            weight = (
                count / max(total, 1) * self.fabric.world_size
            )  # ranks' gradients are averaged, not summed
            with self.fabric.no_backward_sync(self.objective, enabled=place < len(batches)):
                loss = self.objective(Sealed(batch.to(self.fabric.device)))
                self.fabric.backward(loss.total * weight)
            sums.add(loss, count)
        if settings.clip:
            self.fabric.clip_gradients(
                self.objective, self.optimiser, max_norm=settings.clip, error_if_nonfinite=False
            )
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

        meter.samples += total
        meter.waited += waited
        self.progress = replace(
            self.progress,
            step=step + 1,
            samples=self.progress.samples + total,
            seconds=self.progress.seconds + time.perf_counter() - began,
            waited=self.progress.waited + waited,
        )

    def _validate(self) -> bool:
        """Measure on rank 0, keep the weights if they are the best; True where a signal cut it short."""
        began = time.perf_counter()
        figures: dict[str, float] | None = None
        if self.fabric.is_global_zero:
            self.model.eval()
            with random_state.left_alone(), torch.no_grad():
                try:
                    figures = dict(self.validate(self.model, self.stop.watch))
                except CutShortError:
                    figures = None
        figures = self.fabric.broadcast(figures)
        if figures is None:
            return True
        metric, step = self.stopper.metric, self.progress.step
        self.stopper = self.stopper.after(self.stopper.value_in(figures), step)
        self.progress = replace(self.progress, validated=step)
        best = self.stopper.best_step == step
        if best:
            self._keep_best(figures)
        took = time.perf_counter() - began
        self._record({"step": step, "validation": figures, "best": best, "seconds": round(took, 3)})
        self.report.validation(step, metric, figures, best, took)
        return False

    def _resume_or_begin(self) -> None:
        """Go back to the newest checkpoint; without one, give every rank random states of its own."""
        found, faults = checkpoints.load_newest(self.folder.checkpoints)
        for fault in faults:
            self.report.say(f"passed over: {fault}")
        self.fabric.barrier()  # nobody writes before all have read
        if found is None:
            words = np.random.SeedSequence([self.config.seed, self.fabric.global_rank]).generate_state(1)
            random_state.seed_everything(int(words[0]))
            return
        checkpoints.require_same_run(found, self.config.identity, self.fabric.world_size, self.folder.root)
        self.model.load_state_dict(found.weights)
        self.optimiser.load_state_dict(found.optimiser)
        self.progress = Progress(**found.progress["progress"])
        self.stopper = replace(self.stopper, **found.progress["stopper"])
        self._saved = self.progress
        own = found.ranks[self.fabric.global_rank]
        self.loader.load_state_dict(own["loader"])
        random_state.restore(own["random"])
        if self.progress.step:
            on_step(self.model, self.progress.step - 1, self.config.training.steps)  # a validation may be due
        if self.fabric.is_global_zero:
            self.folder.forget_after(self.progress.step, self.progress.validated)
        self.report.say(f"resumed after step {self.progress.step:,} of {self.config.training.steps:,}")

    def _save(self) -> None:
        """Write a checkpoint, once for a state."""
        if self.progress == self._saved:
            return
        own = {"random": random_state.capture(), "loader": self.loader.state_dict()}
        ranks = from_all_ranks(self.fabric, own)
        if self.fabric.is_global_zero:
            stopper = asdict(self.stopper)
            state = checkpoints.Checkpoint(
                step=self.progress.step,
                config=self.config.identity,
                weights=self.model.state_dict(),
                optimiser=self.optimiser.state_dict(),
                progress={
                    "progress": asdict(self.progress),
                    "stopper": {name: stopper[name] for name in ("best", "best_step", "since")},
                },
                ranks=ranks,
            )
            checkpoints.save(self.folder.checkpoints, state)
        self._saved = self.progress
        self.fabric.barrier()

    def _keep_best(self, figures: Mapping[str, float]) -> None:
        if self.fabric.is_global_zero:
            save_best(self.folder.best, self.model, self.progress.step, figures)
        self.fabric.barrier()  # every rank reads it in the end

    def _log(self, sums: Sums, meter: Meter) -> None:
        self._require_finite(sums)
        progress, steps = self.progress, self.config.training.steps
        figures = sums.means() | meter.figures() | {"learning_rate": self._rate(progress.step - 1)}
        self._record({"step": progress.step, **figures, "seconds": round(progress.seconds, 3)})
        self.report.step(progress.step, steps, figures, progress.seconds / progress.step)

    def _require_finite(self, sums: Sums) -> None:
        wrong = [name for name, value in sums.means().items() if not math.isfinite(value)]
        wrong += [name for name, weight in self.model.named_parameters() if not weight.isfinite().all()][:1]
        if any_rank(self.fabric, bool(wrong)):
            raise TrainingError(
                f"{', '.join(wrong) or 'a loss on another rank'} is not finite at step "
                f"{self.progress.step}; lower training.learning_rate or training.clip and start anew"
            )

    def _validation_due(self) -> bool:
        step, every = self.progress.step, self.config.validation.every
        if step in (0, self.progress.validated):
            return False
        return bool(every) and (step % every == 0 or step == self.config.training.steps)

    def _status(self, leaving: bool) -> Status | None:
        if self.stopper.exhausted:
            return "stopped_early"
        if self.progress.step >= self.config.training.steps and not self._validation_due():
            return "done"
        return "interrupted" if leaving else None

    def _rate(self, step: int) -> float:
        own = self.config.training
        return learning_rate(step, own.steps, own.learning_rate, own.warmup, own.schedule)

    def _record(self, line: Mapping[str, Any]) -> None:
        if self.fabric.is_global_zero:
            self.folder.log(line)
