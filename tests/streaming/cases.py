"""Streams of small files through the job's own entry, in this process or in one that can be killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.streaming import StreamRequest, stream
from tests.e2e.builds import NOW
from tests.pipelines.ingest_cases import HEADER

ROOT = Path(__file__).parents[2]

CONFIG = """
[source]
path = "unset"
format = "csv"
ts_unit = "s"
[source.columns]
user_id = "user"
item_id = "item"
category_id = "category"
event_type = "type"
ts = "time"
[source.event_types]
view = "browse"
buy = "purchase"
[gates]
max_rejected_share = 1.0
min_vector_coverage = 0.0
[spark]
partitions = 2
"""


@dataclass(frozen=True)
class Stream:
    """A folder with a config, the folder in which files arrive, and the warehouse."""

    folder: Path
    config_text: str = CONFIG

    @property
    def config(self) -> Path:
        path = self.folder / "config.toml"
        path.write_text(self.config_text)
        return path

    @property
    def arriving(self) -> Path:
        path = self.folder / "arriving"
        path.mkdir(exist_ok=True)
        return path

    @property
    def warehouse(self) -> Path:
        return self.folder / "warehouse"

    def arrive(self, name: str, lines: Iterable[str | bytes]) -> Path:
        """A file as it should arrive: written aside, then moved."""
        aside = self.folder / f"{name}.part"
        aside.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in lines))
        return aside.rename(self.arriving / name)

    def arrive_csv(self, name: str, rows: Iterable[str | bytes]) -> Path:
        return self.arrive(name, [HEADER, *rows])

    def run(self, now: datetime = NOW, **request: Any) -> Mapping[str, Any]:
        """Take in what has arrived, in this process."""
        origin = {} if "kafka" in request else {"source": str(self.arriving)}
        given = {"config": str(self.config), "warehouse": str(self.warehouse), "once": True, **origin}
        return stream(StreamRequest(**({"clock": lambda: now} | given | request)))

    def process(self, *words: str) -> "subprocess.Popen[str]":
        """The job in a process group of its own, with what it prints in ``stream.log`` and ``stream.out``."""
        command = [sys.executable, str(ROOT / "jobs" / "stream_events.py"), "--config", str(self.config)]
        command += ["--warehouse", str(self.warehouse)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with (self.folder / "stream.log").open("a") as log, (self.folder / "stream.out").open("a") as out:
            return subprocess.Popen(
                [*command, *words], stdout=out, stderr=log, text=True, env=environment, start_new_session=True
            )

    def log(self) -> str:
        return (self.folder / "stream.log").read_text()

    def last_summary(self) -> Mapping[str, Any]:
        """The last line of the last process that ended by itself."""
        summary: Mapping[str, Any] = json.loads((self.folder / "stream.out").read_text().splitlines()[-1])
        return summary


def kill(process: "subprocess.Popen[str]") -> None:
    """Kill -9 of the job with its JVM and workers."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
