"""Train every model of a grid on every data set under every seed; write the tables and their plots.

What is finished is not run again, so a grid that was cut short goes on where it stopped.
"""

import argparse
import json
import multiprocessing
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from training.errors import ConfigError, TrainingError
from training.evaluate.experiment import Cell, Outcome, Results, grid, run_grid
from training.experiments.bundle import Bundle
from training.experiments.cell import run_cell
from training.experiments.config import Grid, load_grid
from training.experiments.report import write_report
from training.fit.signals import listening

EXAMPLES = """\
examples:
  python -m training.experiments --config conf/experiments/tier1.toml --out experiments
  python -m training.experiments --config conf/experiments/tier1.toml --out experiments --prepare
      only expand the data, to take it to another machine
  python -m training.experiments --config conf/experiments/tier1.toml --out experiments --workers 8 --cuda
  python -m training.experiments --config conf/experiments/tier1.toml --out experiments --report
      only the tables and plots of what is finished
The last line of stdout is the report's path (JSON). Exit status: 0 done; 2 wrong arguments, config or
data; 1 anything else."""


def main() -> int:
    """Run the command; the exit status."""
    arguments = _arguments()
    try:
        found = run(arguments)
    except TrainingError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)  # noqa: T201
        return error.exit_status
    print(json.dumps(found), flush=True)  # noqa: T201
    return 0


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Prepare, run the cells and write the report, as far as asked."""
    settings, out = load_grid(arguments.config), Path(arguments.out)
    data = arguments.data or list(settings.data)
    for name in (*data, *(arguments.models or [])):
        if name not in settings.data and name not in settings.models:
            raise ConfigError(f"{name}: neither data nor a model of {arguments.config}")
    if not arguments.report:
        for name in data:
            _prepare(settings, name, out)
    if arguments.prepare:
        return {"data": [str(_folder(out, name)) for name in data]}
    if not arguments.report:
        cells = list(grid(arguments.models or settings.models, data, arguments.seeds or settings.seeds))
        _spread(arguments, cells)
    return {"report": str(write_report(settings, Results(out / "results"), out))}


def _spread(arguments: argparse.Namespace, cells: Sequence[Cell]) -> None:
    """Give every worker its share; TrainingError where one fails, after the others have finished."""
    if arguments.workers == 1:
        _work(arguments, cells)
        return
    spawn = multiprocessing.get_context("spawn")
    # Neighbours in the grid differ in model, so strides give every worker some of each.
    shares = [cells[first :: arguments.workers] for first in range(arguments.workers)]
    workers = [spawn.Process(target=_work, args=(arguments, share)) for share in shares if share]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    failed = sum(worker.exitcode != 0 for worker in workers)
    if failed:
        raise TrainingError(f"{failed} of {len(workers)} workers failed, see above; run again for the rest")


def _work(arguments: argparse.Namespace, cells: Sequence[Cell]) -> None:
    """Run cells one after the other."""
    settings, out = load_grid(arguments.config), Path(arguments.out)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.cuda:
        hardware = settings.hardware.model_copy(update={"accelerator": "cuda"})
        settings = settings.model_copy(update={"hardware": hardware})
    bundle = lru_cache(maxsize=1)(lambda name: Bundle.load(_folder(out, name)))

    def config(cell: Cell) -> Any:
        folder = out / "runs" / cell.data / cell.model / str(cell.seed)
        return settings.cell(cell.model, cell.data, cell.seed, folder)

    def outcome(cell: Cell) -> Outcome:
        return run_cell(config(cell), bundle(cell.data), stop)

    def fingerprint(cell: Cell) -> str:
        return f"{config(cell).fingerprint} {bundle(cell.data).fingerprint}"

    with listening() as stop:
        run_grid(stop.watch(cells), Results(out / "results"), outcome, fingerprint, _report)


def _prepare(settings: Grid, name: str, out: Path) -> None:
    """Expand a data set, at its newest version, unless it lies there as it is asked for."""
    folder = _folder(out, name)
    targets = {"valid": settings.validation.targets, "test": settings.test_targets}
    if Bundle.answers(folder, settings.data[name], targets):
        return
    from training.experiments.prepare import prepare  # noqa: PLC0415, a machine without Delta has no need

    _report(f"expanding {name} …")
    prepare(settings.data[name], targets).save(folder)


def _folder(out: Path, name: str) -> Path:
    return out / "data" / name


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m training.experiments",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the grid, TOML")
    parser.add_argument("--out", required=True, metavar="DIR", help="data, runs, results and report")
    parser.add_argument("--data", nargs="+", metavar="NAME", help="only these data sets")
    parser.add_argument("--models", nargs="+", metavar="NAME", help="only these models")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="instead of the config's")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes side by side")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads of a worker")
    parser.add_argument("--cuda", action="store_true", help="train on the GPU")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--prepare", action="store_true", help="only expand the data")
    only.add_argument("--report", action="store_true", help="only write the tables and plots")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
