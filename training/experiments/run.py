"""A grid from its configuration to its report."""

import argparse
import difflib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from training.command import say
from training.errors import ConfigError
from training.evaluate.experiment import Results, grid
from training.experiments.bundle import Bundle
from training.experiments.config import Grid, load_grid
from training.experiments.report import write_report
from training.experiments.work import Bench, spread


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Prepare, run the cells and write the report, as far as asked."""
    settings, out = load_grid(arguments.config), arguments.out
    bench = Bench(arguments.config, out, arguments.threads, arguments.cuda)
    data, models = arguments.data or list(settings.data), arguments.models or list(settings.models)
    _require_known("--data", data, settings.data)
    _require_known("--models", models, settings.models)
    if not arguments.report:
        for name in data:
            _prepare(settings, name, bench.data(name))
    if arguments.prepare:
        return {"data": [str(bench.data(name)) for name in data]}
    if not arguments.report:
        cells = list(grid(models, data, arguments.seeds or settings.seeds))
        spread(bench, cells, arguments.workers)
    return {"report": str(write_report(settings, Results(bench.results, bench.marks(settings)), out))}


def _require_known(option: str, names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}"
            raise ConfigError(f"{option} {name}: the config has none of that name; {hint}")


def _prepare(settings: Grid, name: str, folder: Path) -> None:
    """Expand a data set, at its newest version, unless it lies there as it is asked for."""
    targets = {"valid": settings.validation.targets, "test": settings.test_targets}
    if Bundle.answers(folder, settings.data[name], targets):
        return
    from training.experiments.prepare import prepare  # noqa: PLC0415, a machine without Delta has no need

    say(f"expanding {name} …")
    prepare(settings.data[name], targets).save(folder)
