"""What a program takes: seconds, processor seconds, memory of it and all its children, bytes written.

``measure`` has a process of its own run the program (``python measure.py OUT COMMAND …``): it becomes the
parent of whatever the program leaves behind, such as Spark's JVM, and waits for the last of them.
"""

import ctypes
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

SAMPLE_SECONDS, SCRATCH_SECONDS, POLL_SECONDS = 0.2, 1.0, 0.02
GROWTH = 1.01
GIB = 2**30
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Cost:
    """Of a program and all that it started, until the last process has ended.

    ``peak_bytes``: proportional set sizes (shared pages counted once) of all processes, summed, where their
    resident sizes reach a new height: a JVM of gigabytes stands still while it is asked for it.
    ``written_bytes`` lie under its folder at the end; ``disk_bytes`` went to any disk, spill and temporary
    files too; ``scratch_bytes`` lay at most in ``SPARK_LOCAL_DIRS``, looked at once a second.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    written_bytes: int
    disk_bytes: int
    scratch_bytes: int


def measure(command: Sequence[str], out: Path, environment: Mapping[str, str] | None = None) -> Cost:
    """Run a program that writes under ``out``; RuntimeError with its last words where it fails.

    What it says lies in ``out.log`` beside that.
    """
    watcher = [sys.executable, __file__, str(out), *command]
    done = subprocess.run(watcher, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    status, cost = json.loads(done.stdout)
    if status:
        words = log_of(out).read_text()[-3000:]
        raise RuntimeError(f"{' '.join(command)} ended with status {status}:\n{words}")
    return Cost(**cost)


def log_of(out: Path) -> Path:
    """What the program said that wrote ``out``."""
    return out.parent / f"{out.name}.log"


def answer_of(out: Path) -> dict[str, Any]:
    """The last line of JSON that the program said."""
    lines = [line for line in log_of(out).read_text().splitlines() if line.startswith("{")]
    found: dict[str, Any] = json.loads(lines[-1])
    return found


@dataclass
class Samples:
    """What was seen of the processes while they ran."""

    peak_bytes: int = 0
    resident_bytes: int = 0  # when the peak was taken
    disk_bytes: dict[int, int] = field(default_factory=dict)  # of each process, as seen last

    def take(self) -> None:
        processes, resident = psutil.Process().children(recursive=True), 0
        for process in processes:
            with suppress(psutil.Error):
                resident += process.memory_info().rss
                self.disk_bytes[process.pid] = process.io_counters().write_bytes
        if resident > GROWTH * self.resident_bytes:
            self.resident_bytes = resident
            self.peak_bytes = max(self.peak_bytes, sum(map(memory, processes)))


def memory(process: psutil.Process) -> int:
    """Bytes that are the process's; 0 of one that has ended."""
    with suppress(psutil.Error):
        return int(process.memory_full_info().pss if sys.platform == "linux" else process.memory_info().rss)
    return 0


def watch(command: Sequence[str], out: Path) -> tuple[int, Cost]:
    """The program's exit status, and what it took."""
    scratch = out.parent / f"{out.name}.scratch"
    # Orphans become ours: without this, the JVM's time would be lost, which outlives its Python.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    samples, cpu, scratch_bytes, status = Samples(), 0.0, 0, 0
    begin = time.perf_counter()
    sample_due = scratch_due = begin
    with log_of(out).open("w") as log:
        child = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | {"SPARK_LOCAL_DIRS": str(scratch)}
        )
    while True:
        try:
            pid, state, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:  # none is left
            break
        if pid:
            cpu += usage.ru_utime + usage.ru_stime  # its own and that of children it waited for
            if pid == child.pid:
                status = child.returncode = os.waitstatus_to_exitcode(state)
            continue
        now = time.perf_counter()
        if now >= sample_due:
            samples.take()
            sample_due = now + SAMPLE_SECONDS
        if now >= scratch_due:
            scratch_bytes = max(scratch_bytes, folder_bytes(scratch))
            scratch_due = now + SCRATCH_SECONDS
        time.sleep(POLL_SECONDS)
    seconds = time.perf_counter() - begin
    shutil.rmtree(scratch, ignore_errors=True)
    disk = sum(samples.disk_bytes.values())
    return status, Cost(seconds, cpu, samples.peak_bytes, folder_bytes(out), disk, scratch_bytes)


def folder_bytes(folder: Path, ending: str = "") -> int:
    """Of all its files whose names end so; one that vanishes meanwhile counts nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in (one for one in names if one.endswith(ending)):
            with suppress(FileNotFoundError):
                total += (Path(place) / name).stat().st_size
    return total


if __name__ == "__main__":
    status, cost = watch(sys.argv[2:], Path(sys.argv[1]))
    print(json.dumps([status, asdict(cost)]))
