"""``python -m training.fit`` as a process of its own: fresh random states, free to start its ranks."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from training.errors import TrainingError


class FitEndedError(TrainingError):
    """The fit ended with another status than 0, and has said why on stderr."""

    def __init__(self, status: int) -> None:
        super().__init__(f"python -m training.fit ended with status {status}; see above")
        self.exit_status = status


def run_fit_process(words: Sequence[str], env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run the command with these words; its summary. FitEndedError where it ends with another status than 0.

    ``env`` is added to this process's own environment. The fit saves and leaves at a first signal, which
    this process waits for.
    """
    command = [sys.executable, "-m", "training.fit", *words]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | (env or {})) as process,
        _signals_to(process),
    ):
        told, _ = process.communicate()
    if process.returncode != 0:
        raise FitEndedError(process.returncode if process.returncode > 0 else 128 - process.returncode)
    summary: dict[str, Any] = json.loads(told.splitlines()[-1])
    return summary


@contextmanager
def _signals_to(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Leave signals to the process: SIGTERM is passed on, a terminal's Ctrl-C reaches it by itself."""

    def pass_on(number: int, _: FrameType | None) -> None:
        if number == signal.SIGTERM:
            process.terminate()

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
