"""The folder of a run: what it was asked, what it measured, its checkpoints and its best weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from training.errors import ConfigError


@dataclass(frozen=True)
class RunFolder:
    """Where everything of a run lies."""

    root: Path

    @property
    def checkpoints(self) -> Path:
        """What a run resumes from."""
        return self.root / "checkpoints"

    @property
    def best(self) -> Path:
        """The weights of the best validation."""
        return self.root / "best.pt"

    @property
    def vocabulary(self) -> Path:
        """The training vocabulary: what the codes of the weights mean."""
        return self.root / "vocabulary.parquet"

    @property
    def metrics(self) -> Path:
        """One JSON object a line: training figures and validations by step."""
        return self.root / "metrics.jsonl"

    @property
    def targets(self) -> Path:
        """The test's results per target."""
        return self.root / "test_targets.parquet"

    @property
    def config(self) -> Path:
        """The whole configuration, defaults and overrides included."""
        return self.root / "config.toml"

    def begin(self, config: str, run: Mapping[str, Any], resume: bool) -> None:
        """Say what this run is, unless a run that is resumed has done so."""
        if not resume:
            self.require_new()
        self.create()
        if not self.config.exists():
            self.write("run.json", run)
            self.config.write_text(
                config, encoding="utf-8"
            )  # last: a folder with it holds all that a run begins with

    def require_new(self) -> None:
        """ConfigError where the folder holds a run already."""
        if self.config.exists():
            raise ConfigError(
                f"output {self.root}: holds a run already; pass --resume to go on with it, or "
                "--set output=FOLDER for another"
            )

    def create(self) -> None:
        """Make the folder; ConfigError where that cannot be."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"output {self.root}: cannot be made: {error.strerror}") from None

    def write(self, name: str, plain: Mapping[str, Any]) -> None:
        """A JSON file of the run."""
        (self.root / name).write_text(json.dumps(plain, indent=2) + "\n")

    def read(self, name: str) -> dict[str, Any] | None:
        """A JSON file of the run; None where it is not there."""
        path = self.root / name
        if not path.exists():
            return None
        held: dict[str, Any] = json.loads(path.read_text())
        return held

    def write_targets(self, frame: pd.DataFrame) -> None:
        """Keep the test's results per target, users by the hash of their id."""
        part = self.targets.with_suffix(".part")
        frame.to_parquet(part, index=False)
        part.replace(self.targets)

    def read_targets(self) -> pd.DataFrame | None:
        """What ``write_targets`` kept; None where the run kept none."""
        return pd.read_parquet(self.targets) if self.targets.exists() else None

    def log(self, line: Mapping[str, Any]) -> None:
        """Append a line to the metrics."""
        with self.metrics.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def history(self) -> list[dict[str, Any]]:
        """The metrics so far; a line that a crash cut off is left out."""
        lines: list[dict[str, Any]] = []
        if not self.metrics.exists():
            return lines
        for text in self.metrics.read_text().splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                continue
        return lines

    def forget_after(self, step: int, validated: int) -> None:
        """Drop the figures of steps after ``step`` and validations after ``validated``: they come again."""
        kept = [
            line for line in self.history() if line["step"] <= (validated if "validation" in line else step)
        ]
        part = self.metrics.with_suffix(".part")
        part.write_text("".join(json.dumps(line) + "\n" for line in kept))
        part.replace(self.metrics)
