"""Train every model of a grid on every data set under every seed; write the tables and their plots.

What is finished is not run again, so a grid that was cut short goes on where it stopped.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from training.errors import ConfigError, TrainingError
from training.evaluate.experiment import Results, grid
from training.experiments.bundle import Bundle
from training.experiments.config import Grid, load_grid
from training.experiments.report import write_report
from training.experiments.work import Bench, say, spread

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
    bench = Bench(arguments.config, out, arguments.threads, arguments.cuda)
    data = arguments.data or list(settings.data)
    for name in (*data, *(arguments.models or [])):
        if name not in settings.data and name not in settings.models:
            raise ConfigError(f"{name}: neither data nor a model of {arguments.config}")
    if not arguments.report:
        for name in data:
            _prepare(settings, name, bench.data(name))
    if arguments.prepare:
        return {"data": [str(bench.data(name)) for name in data]}
    if not arguments.report:
        cells = list(grid(arguments.models or settings.models, data, arguments.seeds or settings.seeds))
        spread(bench, cells, arguments.workers)
    return {"report": str(write_report(settings, Results(bench.results), out))}


def _prepare(settings: Grid, name: str, folder: Path) -> None:
    """Expand a data set, at its newest version, unless it lies there as it is asked for."""
    targets = {"valid": settings.validation.targets, "test": settings.test_targets}
    if Bundle.answers(folder, settings.data[name], targets):
        return
    from training.experiments.prepare import prepare  # noqa: PLC0415, a machine without Delta has no need

    say(f"expanding {name} …")
    prepare(settings.data[name], targets).save(folder)


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
