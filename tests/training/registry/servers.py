"""Real servers on loopback, for as long as a test needs them."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 240
SERVER_ENV = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@contextmanager
def mlflow_server(backend: str, root: Path) -> Iterator[str]:
    """An MLflow server over a store, which hands artifacts on from a folder of its own; its URI."""
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", backend, "--workers", "1"]
    command += ["--artifacts-destination", str(root / "served"), "--host", "127.0.0.1", "--port", str(port)]
    told = root / "server.log"
    with told.open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=root,
            stdout=log,
            stderr=log,
            env=os.environ | SERVER_ENV,
            start_new_session=True,
        )
    try:
        _wait(f"{uri}/health", process, told)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def _wait(address: str, process: "subprocess.Popen[bytes]", told: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"{address} does not answer: {told.read_text()[-2000:]}")


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def postgres_programs() -> Path | None:
    """Where PostgreSQL's programs lie, by Debian's package or on PATH; None where there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    program = shutil.which("initdb")
    return None if program is None else Path(program).resolve().parent


@contextmanager
def postgres(programs: Path) -> Iterator[str]:
    """A PostgreSQL server with an empty database; its SQLAlchemy URI.

    It does not run as root, so that its files lie in a folder of the user's own.
    """
    user = "postgres" if os.geteuid() == 0 else None
    home, port = Path(tempfile.mkdtemp(prefix="seqloom-postgres-")), free_port()
    if user is not None:
        shutil.chown(home, user)

    def run(program: str, *words: str) -> None:
        command = [str(programs / program), *words]
        done = subprocess.run(command, cwd=home, user=user, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    data, options = str(home / "data"), f"-h 127.0.0.1 -p {port} -k {home}"
    try:
        run("initdb", "-D", data, "-U", "mlflow", "--auth=trust", "-E", "UTF8")
        run("pg_ctl", "-D", data, "-o", options, "-l", str(home / "log"), "-w", "start")
        try:
            run("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "runs")
            yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/runs"
        finally:
            run("pg_ctl", "-D", data, "-m", "fast", "-w", "stop")
    finally:
        shutil.rmtree(home)
