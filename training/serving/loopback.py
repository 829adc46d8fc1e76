"""A server of HTTP on loopback for as long as someone needs it: a benchmark, or a test."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

PATIENCE_SECONDS: Final = 240
POLL_SECONDS: Final = 0.25


class Server(NamedTuple):
    """Where it listens, and its first process."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def on_loopback(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], health: str = "/ping"
) -> Iterator[Server]:
    """Run ``command --host 127.0.0.1 --port PORT`` in ``folder``, on a free port, and stop all of it at last.

    ``health`` is a path that answers once the server is ready. What it says goes to ``server.log`` in the
    folder. RuntimeError with the end of that where it ends, or does not answer within four minutes.
    """
    port = free_port()
    told = folder / "server.log"
    with told.open("w") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env=os.environ | environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = Server(port, process.pid)
    try:
        _wait(f"{server.url}{health}", process, told)
        yield server
    finally:
        with suppress(ProcessLookupError):  # its workers may outlive the first process
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


@contextmanager
def serving(model_uri: str, tracking: str, folder: Path) -> Iterator[Server]:
    """``mlflow models serve`` of a model, by this environment."""
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model_uri, "--env-manager", "local"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with on_loopback(command, folder, {"MLFLOW_TRACKING_URI": tracking, "PATH": path}) as server:
        yield server


def free_port() -> int:
    """A port of loopback that nobody listens to now."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def _wait(address: str, process: "subprocess.Popen[bytes]", told: Path) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(POLL_SECONDS)
    raise RuntimeError(f"{address} does not answer: {told.read_text()[-2000:]}")
