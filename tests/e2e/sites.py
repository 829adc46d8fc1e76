"""Two runs of the main job as processes of their own, and the warehouses that they make."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from pipelines.build import BuildRequest, build
from pipelines.lock import read_lock
from pipelines.synthetic.generate import generate
from tests.content import digest
from tests.e2e.builds import COLUMNS, CONFIG, SETTINGS
from tests.processes import kill_session

ROOT: Final = Path(__file__).parents[2]
DAY: Final = 7
"""Of the month: the run ``before`` takes the days before, ``after`` this one, with one day again."""

PATIENCE_SECONDS: Final = 900.0
"""A run takes 25 s on two idle cores, and has taken 15 times that on busy ones."""


@dataclass(frozen=True)
class Site:
    """A folder with a config and the sources ``before`` and ``after``."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "Site":
        generate(SETTINGS, folder / "generated")
        files = sorted((folder / "generated" / "events").iterdir())
        rows = pd.concat(pd.read_csv(file, dtype=str) for file in files)[COLUMNS]
        day = pd.to_datetime(rows["ts"], utc=True, errors="coerce").dt.day
        for name, own in (("before", rows[~(day >= DAY)]), ("after", rows[day >= DAY - 1])):
            (folder / name).mkdir()
            own.to_csv(folder / name / "events.csv", index=False)
        (folder / "config.toml").write_text(CONFIG)
        return cls(folder)

    def command(self, source: str, warehouse: Path, *words: str) -> list[str]:
        given = ["--config", "config.toml", "--source", source, "--warehouse", str(warehouse), *words]
        return [sys.executable, str(ROOT / "jobs" / "build_sequences.py"), *given]

    def run(self, source: str, warehouse: Path, *words: str) -> float:
        """Seconds of a run that nothing disturbs."""
        start = time.monotonic()
        self.start(source, warehouse, words).require_done()
        return time.monotonic() - start

    def build(self, source: str, warehouse: Path) -> None:
        """The same run in this process, whose Spark is warm already."""
        config, path = self.folder / "config.toml", self.folder / source
        build(BuildRequest(str(config), str(path), str(warehouse)))

    def start(
        self,
        source: str,
        warehouse: Path,
        words: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> "Running":
        """A run in a session of its own, whose words lie beside the warehouse."""
        return Running.of(
            self.command(source, warehouse, *words), self.folder, warehouse.parent, environment or {}
        )


@dataclass(frozen=True)
class Running:
    """A started run; ``said`` and ``answered`` hold its stderr and stdout."""

    process: "subprocess.Popen[bytes]"
    said: Path
    answered: Path

    @classmethod
    def of(cls, command: Sequence[str], cwd: Path, logs: Path, environment: Mapping[str, str]) -> "Running":
        number = len(list(logs.glob("run-*.err")))
        said, answered = logs / f"run-{number}.err", logs / f"run-{number}.out"
        with said.open("w") as err, answered.open("w") as out:
            process = subprocess.Popen(
                command, cwd=cwd, stdout=out, stderr=err, start_new_session=True,
                env=os.environ | environment,
            )  # fmt: skip
        return cls(process, said, answered)

    def await_text(self, text: str) -> None:
        """Back once the run has said ``text``."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.said.read_text():
            assert self.process.poll() is None and time.monotonic() < deadline, self.tail()
            time.sleep(0.05)

    def wait(self) -> int:
        """The exit status; nothing of a run that takes too long is left."""
        try:
            return self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            kill_session(self.process)
            raise

    def require_done(self) -> None:
        assert self.wait() == 0, self.tail()
        json.loads(self.answered.read_text().splitlines()[-1])

    def the_error(self, status: int) -> str:
        """The one line of an expected failure, which is the last that a person sees."""
        assert self.wait() == status, self.tail()
        assert self.answered.read_text() == ""
        lines = self.said.read_text().splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        assert len(errors) == 1 and lines[-1] == errors[0], self.tail()
        return errors[0]

    def tail(self) -> str:
        return self.said.read_text()[-4000:]


@dataclass(frozen=True)
class Undisturbed:
    """The warehouse that a site's first run made, and what its tables hold then and after the second."""

    site: Site
    base: Path
    first: Mapping[str, str]
    second: Mapping[str, str]

    @classmethod
    def make(cls, folder: Path) -> "Undisturbed":
        site, base = Site.make(folder), folder / "base"
        site.build("before", base)
        second = copy(base, folder / "second")
        site.build("after", second)
        return cls(site, base, digest(base), digest(second))

    def fresh(self, warehouse: Path) -> Path:
        """A warehouse as the first run made it."""
        return copy(self.base, warehouse)


def copy(base: Path, warehouse: Path) -> Path:
    """The warehouse, as a fresh copy of ``base``."""
    shutil.copytree(base, warehouse)
    return warehouse


def require_equal(warehouse: Path, expected: Mapping[str, str]) -> None:
    """The tables are those of an undisturbed run, and nobody holds the lock."""
    assert digest(warehouse) == expected
    assert read_lock(warehouse) is None
