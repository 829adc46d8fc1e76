"""Real servers on loopback, for as long as a test needs them."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.serving.loopback import free_port, on_loopback

SERVER_ENV = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@contextmanager
def mlflow_server(backend: str, root: Path) -> Iterator[str]:
    """An MLflow server over a store, which hands artifacts on from a folder of its own; its URI."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", backend, "--workers", "1"]
    command += ["--artifacts-destination", str(root / "served")]
    with on_loopback(command, root, SERVER_ENV, health="/health") as server:
        yield server.url


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
