"""Run a grid's cells: one after the other, or spread over processes that each take the next one."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from training.command import say
from training.errors import TrainingError
from training.evaluate.experiment import Cell, Marks, Outcome, Results, run_grid
from training.experiments.bundle import Bundle
from training.experiments.cell import run_cell
from training.experiments.config import Grid, load_grid
from training.fit.config import Config
from training.fit.lineage import code_commit
from training.fit.signals import CutShortError, listening


class InterruptedGridError(TrainingError):
    """A signal ended the grid."""

    exit_status = 130


@dataclass(frozen=True)
class Bench:
    """Where a worker finds the grid and leaves its results, and what it may use."""

    config: Path
    out: Path
    threads: int | None = None  # of the CPU; None: as training.fit does
    cuda: bool = False

    @property
    def results(self) -> Path:
        """The folder of the cells' results."""
        return self.out / "results"

    def data(self, name: str) -> Path:
        """The folder of a data set's bundle."""
        return self.out / "data" / name

    def cell(self, settings: Grid, cell: Cell) -> Config:
        """The configuration of a cell."""
        return settings.cell(
            cell.model, cell.data, cell.seed, self.out / "runs" / cell.data / cell.model / str(cell.seed)
        )

    def marks(self, settings: Grid) -> Marks:
        """What a cell's results must have been made from: its configuration and its data."""

        @lru_cache
        def data(name: str) -> str:
            return Bundle.fingerprint_in(self.data(name))

        def mark(cell: Cell) -> str | None:
            if cell.model not in settings.models or cell.data not in settings.data:
                return None
            return f"{self.cell(settings, cell).fingerprint} {data(cell.data)}"

        return mark


def spread(bench: Bench, cells: Sequence[Cell], workers: int) -> None:
    """Run the cells in ``workers`` processes; TrainingError where one fails, after the others finished."""
    ended = InterruptedGridError("interrupted; run the command again for the cells that are not finished")
    if workers == 1:
        try:
            _work(bench, cells, None)
        except CutShortError:
            raise ended from None
        return
    spawn = multiprocessing.get_context("spawn")
    taken = spawn.Value("q", 0)
    own = [spawn.Process(target=_worker, args=(bench, cells, taken)) for _ in range(min(workers, len(cells)))]
    with listening() as stop:
        for worker in own:
            worker.start()
        told = False
        while any(worker.is_alive() for worker in own):
            for worker in own:
                worker.join(0.2)
            if stop.signal_number == signal.SIGTERM and not told:  # a terminal tells all processes of Ctrl-C
                told = True
                for worker in own:
                    worker.terminate()
    if stop.asked:
        raise ended
    failed = sum(worker.exitcode != 0 for worker in own)
    if failed:
        raise TrainingError(f"{failed} of {len(own)} workers failed, see above; run again for the rest")


def _worker(bench: Bench, cells: Sequence[Cell], taken: Any) -> None:
    """A process of its own: what is expected is said in a line."""
    try:
        _work(bench, cells, taken)
    except CutShortError:
        sys.exit(InterruptedGridError.exit_status)
    except TrainingError as error:
        say(f"error: {error.line}")
        sys.exit(error.exit_status)


def _work(bench: Bench, cells: Sequence[Cell], taken: Any) -> None:
    settings = load_grid(bench.config)
    marks = bench.marks(settings)  # wherever they run
    if bench.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(bench.threads)  # training.fit.device keeps to it
        torch.set_num_threads(bench.threads)
    if bench.cuda:
        hardware = settings.hardware.model_copy(update={"accelerator": "cuda"})
        settings = settings.model_copy(update={"hardware": hardware})
    bundle = lru_cache(maxsize=1)(lambda name: Bundle.load(bench.data(name)))
    place = 0

    def outcome(cell: Cell) -> Outcome:
        return run_cell(bench.cell(settings, cell), bundle(cell.data), stop)

    def own() -> Iterator[Cell]:
        nonlocal place
        for place in _places(len(cells), taken):
            yield cells[place]

    def report(line: str) -> None:
        say(f"[{place + 1}/{len(cells)}] {line}")

    results = Results(bench.results, commit=code_commit())
    with listening() as stop:
        run_grid(stop.watch(own()), results, outcome, lambda cell: str(marks(cell)), report)


def _places(count: int, taken: Any) -> Iterator[int]:
    """The places that no other worker has taken, first to last; without others, all.

    None where the process that began the workers is gone.
    """
    if taken is None:
        yield from range(count)
        return
    parent = multiprocessing.parent_process()
    while parent is None or parent.is_alive():
        with taken.get_lock():
            place, taken.value = taken.value, taken.value + 1
        if place >= count:
            return
        yield place
