"""A finished run folder of ``python -m training.fit`` as one value."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from training.errors import DataError
from training.evaluate.run import Summary
from training.fit.checkpoint import read_whole
from training.fit.config import Config
from training.fit.load import load_config
from training.fit.run_folder import RunFolder
from training.registry.weights import weights_digest

_FINISHED: Final = ("done", "stopped_early")


@dataclass(frozen=True)
class FinishedRun:
    """What a run was asked, what it came from and what it reached."""

    folder: RunFolder
    config: Config
    origin: dict[str, Any]  # run.json: table versions, splits, code, packages
    summary: dict[str, Any]
    validation: dict[str, float]  # of the best weights; slices as slice/name
    test: Summary  # by slice; empty where the run left the test out
    weights: str  # their hash

    @property
    def name(self) -> str:
        """What people call the run: its folder's name."""
        return self.folder.root.resolve().name

    @property
    def commit(self) -> str | None:
        """The commit of the code that ran; None where git could not tell."""
        code: str | None = self.origin["code_commit"]
        return None if code is None else code.removesuffix("+changed")

    @property
    def dirty(self) -> bool:
        """Whether files of the code had been edited since that commit."""
        return str(self.origin["code_commit"]).endswith("+changed")

    @cached_property
    def key(self) -> str:
        """Names the run wherever its folder lies: of its origin, configuration, weights and test."""
        held = [self.origin, json.loads(self.config.identity), self.weights, self.test]
        return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:32]


def read_finished(folder: str | Path) -> FinishedRun:
    """The finished run in a folder; DataError where there is none, or it was interrupted."""
    run = RunFolder(Path(folder))
    origin, summary = run.read("run.json"), run.read("summary.json")
    if origin is None or summary is None or not run.best.exists():
        raise DataError(
            f"{folder}: holds no finished run; name the output folder of python -m training.fit, or fit "
            "first with python -m training.registry train"
        )
    if summary["status"] not in _FINISHED:
        raise DataError(
            f"{folder}: the run was {summary['status']}; finish it with python -m training.fit --config "
            f"{run.config} --resume"
        )
    best = read_whole(run.best)
    return FinishedRun(
        folder=run,
        config=load_config(run.config),
        origin=origin,
        summary=summary,
        validation=best["validation"],
        test=run.read("test.json") or {},
        weights=weights_digest(best["weights"]),
    )
