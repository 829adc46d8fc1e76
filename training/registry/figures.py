"""Figures of a run as MLflow keeps them: one flat name each, with a step."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from training.evaluate.run import Summary
from training.fit.checkpoint import flatten
from training.fit.config import Config
from training.registry.finished import FinishedRun


class Figure(NamedTuple):
    """A value of a metric after a step."""

    name: str
    value: float
    step: int


def figures(run: FinishedRun) -> list[Figure]:
    """Everything measured: test by slice, validation of the best weights, cost, and the curves by step.

    ``test/hr_10`` is of all targets, ``test/hopping/hr_10`` of a slice; ``best/…`` the validation of the
    kept weights, ``validation/…`` and ``train/…`` the curves. What is not finite (the AUC of a slice
    with one class) is left out.
    """
    best = max(int(run.summary["best_step"]), 0)
    found = [
        *(Figure(f"test/{name}", value, best) for name, value in flat_test(run.test).items()),
        *(Figure(f"best/{name}", value, best) for name, value in run.validation.items()),
        *_cost(run.summary),
        *_curves(run.folder.history()),
    ]
    return [figure for figure in found if math.isfinite(figure.value)]


def flat_test(test: Summary) -> dict[str, float]:
    """Figures of all targets by their names, those of slices as ``slice/name``."""
    return {
        name if part == "all" else f"{part}/{name}": value
        for part, values in test.items()
        for name, value in values.items()
    }


def _cost(summary: Mapping[str, Any]) -> Iterator[Figure]:
    for name in ("parameters", "steps", "best_step", "samples", "samples_per_second", "waiting", "seconds"):
        yield Figure(f"cost/{name}", float(summary[name]), 0)


def _curves(history: Iterable[Mapping[str, Any]]) -> Iterator[Figure]:
    for line in history:
        part = "validation" if "validation" in line else "train"
        values = line["validation"] if part == "validation" else line
        for name, value in values.items():
            if name != "step":
                yield Figure(f"{part}/{name}", float(value), int(line["step"]))


def params(config: Config) -> dict[str, str]:
    """The whole configuration, one dotted key each."""
    plain = flatten(config.model_dump(mode="json", exclude_none=True))
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in plain.items()}


def packed(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """The items in order, at most ``size`` at a time: MLflow takes no more in one call."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
