"""Run a grid's cells: one after the other, or spread over processes that each take the next one."""

import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from training.errors import TrainingError
from training.evaluate.experiment import Cell, Outcome, Results, run_grid
from training.experiments.bundle import Bundle
from training.experiments.cell import run_cell
from training.experiments.config import load_grid
from training.fit.signals import listening


@dataclass(frozen=True)
class Bench:
    """Where a worker finds the grid and leaves its results, and what it may use."""

    config: Path
    out: Path
    threads: int = 0  # of the CPU; 0: as training.fit does
    cuda: bool = False

    @property
    def results(self) -> Path:
        """The folder of the cells' results."""
        return self.out / "results"

    def data(self, name: str) -> Path:
        """The folder of a data set's bundle."""
        return self.out / "data" / name


def spread(bench: Bench, cells: Sequence[Cell], workers: int) -> None:
    """Run the cells in ``workers`` processes; TrainingError where one fails, after the others finished."""
    if workers == 1:
        _work(bench, cells, None)
        return
    spawn = multiprocessing.get_context("spawn")
    taken = spawn.Value("q", 0)
    own = [spawn.Process(target=_work, args=(bench, cells, taken)) for _ in range(min(workers, len(cells)))]
    for worker in own:
        worker.start()
    for worker in own:
        worker.join()
    failed = sum(worker.exitcode != 0 for worker in own)
    if failed:
        raise TrainingError(f"{failed} of {len(own)} workers failed, see above; run again for the rest")


def say(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _work(bench: Bench, cells: Sequence[Cell], taken: Any) -> None:
    settings = load_grid(bench.config)
    if bench.threads:
        os.environ["OMP_NUM_THREADS"] = str(bench.threads)  # training.fit.device keeps to it
        torch.set_num_threads(bench.threads)
    if bench.cuda:
        hardware = settings.hardware.model_copy(update={"accelerator": "cuda"})
        settings = settings.model_copy(update={"hardware": hardware})
    bundle = lru_cache(maxsize=1)(lambda name: Bundle.load(bench.data(name)))

    def config(cell: Cell) -> Any:
        folder = bench.out / "runs" / cell.data / cell.model / str(cell.seed)
        return settings.cell(cell.model, cell.data, cell.seed, folder)

    def outcome(cell: Cell) -> Outcome:
        return run_cell(config(cell), bundle(cell.data), stop)

    def fingerprint(cell: Cell) -> str:
        return f"{config(cell).fingerprint} {bundle(cell.data).fingerprint}"

    place = 0

    def own() -> Iterator[Cell]:
        nonlocal place
        for place in _places(len(cells), taken):
            yield cells[place]

    def report(line: str) -> None:
        say(f"[{place + 1}/{len(cells)}] {line}")

    with listening() as stop:
        run_grid(stop.watch(own()), Results(bench.results), outcome, fingerprint, report)


def _places(count: int, taken: Any) -> Iterator[int]:
    """The places that no other worker has taken, first to last; without others, all."""
    if taken is None:
        yield from range(count)
        return
    while True:
        with taken.get_lock():
            place, taken.value = taken.value, taken.value + 1
        if place >= count:
            return
        yield place
