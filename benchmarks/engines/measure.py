"""What a program takes: seconds, processor seconds, memory of it and all its children, bytes written."""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.2
GIB = 2**30


@dataclass(frozen=True)
class Cost:
    """``peak_bytes``: proportional set sizes (shared pages counted once) of all processes, summed."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    written_bytes: int


def measure(command: Sequence[str], out: Path, environment: Mapping[str, str] | None = None) -> Cost:
    """Run a program that writes under ``out``; RuntimeError with its last words where it fails."""
    begin = time.perf_counter()
    with (out.parent / f"{out.name}.log").open("w") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        cpu, peak = {}, 0
        root = psutil.Process(child.pid)
        while child.poll() is None:
            peak = max(peak, _sample(root, cpu))
            time.sleep(SAMPLE_SECONDS)
    seconds = time.perf_counter() - begin
    if child.returncode:
        words = (out.parent / f"{out.name}.log").read_text()[-3000:]
        raise RuntimeError(f"{' '.join(command)} ended with status {child.returncode}:\n{words}")
    written = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    return Cost(seconds, sum(cpu.values()), peak, written)


def _sample(root: psutil.Process, cpu: dict[int, float]) -> int:
    """Bytes of the tree now; processor seconds of each process are kept as they were seen last."""
    total = 0
    with suppress(psutil.Error):
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.Error):
                times = process.cpu_times()
                cpu[process.pid] = times.user + times.system
                total += (
                    process.memory_full_info().pss if sys.platform == "linux" else process.memory_info().rss
                )
    return total
