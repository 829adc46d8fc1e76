"""Results of a grid model x data x seed, in Parquet, so that a grid goes on where it stopped."""

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from training.errors import ConfigError, DataError
from training.evaluate.run import Summary

MODEL_FACTS: Final = "model"
"""Name that stands in place of a slice for facts about a model: parameters, FLOPs, samples/s."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.+-]*")
_TARGETS, _SUMMARY = "targets.parquet", "summary.parquet"


@dataclass(frozen=True)
class Cell:
    """One run of a grid; names are lower case letters, digits and ``_ . + -``."""

    model: str
    data: str
    seed: int

    def __post_init__(self) -> None:
        for name in (self.model, self.data):
            if not _NAME.fullmatch(name):
                raise ConfigError(f"{name!r} cannot name a model or data set; use a-z, 0-9 and _ . + -")

    def __str__(self) -> str:
        return f"{self.model} on {self.data}, seed {self.seed}"


@dataclass(frozen=True)
class Outcome:
    """What a run leaves: results per target, their summary, and facts about the model."""

    frame: pd.DataFrame
    summary: Summary
    facts: Mapping[str, float]


Marks = Callable[[Cell], str | None]
"""The fingerprint that a cell must have been run under; None for a cell that is not asked for."""


@dataclass(frozen=True)
class Results:
    """A folder ``data=D/model=M/seed=S`` per cell. A cell is there when its summary is, written last.

    With ``marks``, only the cells that were run under their mark are shown. ``commit`` names the code that
    makes what is saved.
    """

    root: Path
    marks: Marks | None = None
    commit: str | None = None

    def finished(self, cell: Cell, fingerprint: str) -> bool:
        """Whether the cell was run under this fingerprint of its config and data version."""
        path = self._folder(cell) / _SUMMARY
        return path.exists() and set(pd.read_parquet(path)["fingerprint"]) == {fingerprint}

    def cells(self, data: str = "*", model: str = "*") -> list[Cell]:
        """The finished cells, by data, model and seed; all of them or those of one data set or model."""
        found = []
        for path in self.root.glob(f"data={data}/model={model}/seed=*/{_SUMMARY}"):
            own_data, own_model, seed = (part.partition("=")[2] for part in path.parent.parts[-3:])
            cell = Cell(own_model, own_data, int(seed))
            mark = self.marks(cell) if self.marks else None
            if self.marks is None or (mark is not None and self.finished(cell, mark)):
                found.append(cell)
        return sorted(found, key=lambda cell: (cell.data, cell.model, cell.seed))

    def save(self, cell: Cell, outcome: Outcome, fingerprint: str) -> None:
        """Keep a cell's outcome instead of an older one."""
        folder = self._folder(cell)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        blocks = {**outcome.summary, MODEL_FACTS: dict(outcome.facts)}
        long = [(name, metric, value) for name, values in blocks.items() for metric, value in values.items()]
        table = pd.DataFrame(long, columns=["slice", "metric", "value"]).astype({"value": "float64"})
        table.insert(0, "seed", cell.seed)
        table.insert(0, "data", cell.data)
        table.insert(0, "model", cell.model)
        _write(outcome.frame, folder / _TARGETS)
        _write(table.assign(fingerprint=fingerprint, commit=self.commit), folder / _SUMMARY)

    def table(self) -> pd.DataFrame:
        """All cells: model, data, seed, slice, metric, value, fingerprint, commit; one row per figure.

        DataError where there is no cell.
        """
        found = [pd.read_parquet(self._folder(cell) / _SUMMARY) for cell in self.cells()]
        if not found:
            raise DataError(f"{self.root} holds no finished run; run the grid first")
        return pd.concat(found, ignore_index=True)

    def frames(self, data: str, model: str) -> dict[int, pd.DataFrame]:
        """Results per target of every finished seed; DataError where there is none."""
        cells = self.cells(data, model)
        if not cells:
            raise DataError(f"{self.root} holds no finished run of {model} on {data}; run the grid first")
        return {cell.seed: pd.read_parquet(self._folder(cell) / _TARGETS) for cell in cells}

    def _folder(self, cell: Cell) -> Path:
        return self.root / f"data={cell.data}" / f"model={cell.model}" / f"seed={cell.seed}"


def grid(models: Iterable[str], data: Iterable[str], seeds: Iterable[int]) -> Iterator[Cell]:
    """Cells seed by seed, so that a grid cut short has all models under fewer seeds."""
    models, data = list(models), list(data)
    return (Cell(model, name, seed) for seed in seeds for name in data for model in models)


def run_grid(
    cells: Iterable[Cell],
    results: Results,
    run: Callable[[Cell], Outcome],
    fingerprint: Callable[[Cell], str],
    report: Callable[[str], None],
) -> None:
    """Run the cells that are not finished, in order, and keep each outcome at once.

    Each cell is asked for when the one before it is done, so that several processes can share them.
    ``report`` gets a line before and after each. A failure ends the grid; what was finished stays.
    """
    for cell in cells:
        mark = fingerprint(cell)
        if results.finished(cell, mark):
            report(f"{cell}: finished before")
            continue
        report(f"{cell} …")
        results.save(cell, run(cell), mark)
        report(f"{cell}: done")


def _write(frame: pd.DataFrame, path: Path) -> None:
    """Write so that a reader sees the whole file or none."""
    part = path.with_suffix(".part")
    frame.to_parquet(part, index=False)
    part.replace(path)
