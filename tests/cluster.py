"""A real Spark standalone cluster on loopback: a master and workers from pip's pyspark.

``python benchmarks/cluster.py`` starts one for people.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyspark

from tests.processes import kill_session, named

ROOT: Final = Path(__file__).parents[1]
SPARK_HOME: Final = Path(pyspark.__file__).parent
STARTUP_SECONDS: Final = 180.0
LOOPBACK: Final = "127.0.0.1"
PACKAGES: Final = ("features", "pipelines", "jobs")


@dataclass(frozen=True)
class Cluster:
    """A running cluster; every process of a worker is in the session that its own process leads."""

    url: str  # spark://…, for --master
    web: str  # http://…, the master's page
    folder: Path
    workers: "tuple[subprocess.Popen[bytes], ...]"

    def alive_workers(self) -> int:
        """How many workers the master counts on."""
        with urllib.request.urlopen(f"{self.web}/json/", timeout=5) as answer:
            return int(json.load(answer)["aliveworkers"])

    def busy_workers(self) -> "list[subprocess.Popen[bytes]]":
        """The workers with an executor, which is a further JVM of theirs."""
        return [worker for worker in self.workers if len(named(worker.pid, "java")) > 1]

    def submit(self, code: Path, script: Path, *words: str, executor_memory: str = "1g") -> list[str]:
        """The command that runs a job of ours here, with its code in the zip ``code``."""
        return [
            str(SPARK_HOME / "bin" / "spark-submit"),
            "--master", self.url, "--driver-memory", "1g", "--executor-memory", executor_memory,
            "--py-files", str(code), str(script), *words,
        ]  # fmt: skip


def environment() -> dict[str, str]:
    """What spark-submit and the cluster's processes need: this Python on the workers too, and loopback."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {"SPARK_LOCAL_IP": LOOPBACK, "PYSPARK_PYTHON": sys.executable, "PATH": path}


@contextmanager
def running_cluster(folder: Path, workers: int = 2, cores: int = 1, memory: str = "2g") -> Iterator[Cluster]:
    """A master and its workers, all registered; logs, work and scratch lie in ``folder``.

    With the block all of it ends, executors and their Python workers too. Raises RuntimeError with the end
    of a log where a process does not start.
    """
    port, web = _free_ports(2)
    url, page = f"spark://{LOOPBACK}:{port}", f"http://{LOOPBACK}:{web}"
    started: list[subprocess.Popen[bytes]] = []
    try:
        words = ["--host", LOOPBACK, "--port", str(port), "--webui-port", str(web)]
        started.append(_start("master.Master", words, folder, "master"))
        for number in range(workers):
            words = ["--host", LOOPBACK, "--webui-port", "0", "--cores", str(cores), "--memory", memory]
            words += ["--work-dir", str(folder / f"work-{number}"), url]
            started.append(_start("worker.Worker", words, folder, f"worker-{number}"))
        cluster = Cluster(url, page, folder, tuple(started[1:]))
        _await_workers(cluster, started)
        yield cluster
    finally:
        for process in reversed(started):
            kill_session(process)


def pack(path: Path) -> Path:
    """Our code as a zip for ``--py-files``, as ``make zip`` makes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for package in PACKAGES:
            for file in sorted((ROOT / package).rglob("*.py")):
                archive.write(file, file.relative_to(ROOT))
    return path


def _start(name: str, words: Sequence[str], folder: Path, log: str) -> "subprocess.Popen[bytes]":
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(SPARK_HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *words]
    own = environment() | {"SPARK_LOCAL_DIRS": str(folder / "scratch"), "SPARK_DAEMON_MEMORY": "512m"}
    with (folder / f"{log}.log").open("w") as out:
        return subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env=_without_our_code(os.environ) | own,
            start_new_session=True,
        )  # fmt: skip


def _without_our_code(given: Mapping[str, str]) -> dict[str, str]:
    """The environment less what would let workers find the code beside the zip."""
    return {name: value for name, value in given.items() if name != "PYTHONPATH"}


def _await_workers(cluster: Cluster, started: "list[subprocess.Popen[bytes]]") -> None:
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline and all(process.poll() is None for process in started):
        with suppress(OSError):
            if cluster.alive_workers() == len(cluster.workers):
                return
        time.sleep(0.2)
    logs = "\n".join(f"{log}: {log.read_text()[-1500:]}" for log in sorted(cluster.folder.glob("*.log")))
    raise RuntimeError(f"no cluster of {len(cluster.workers)} workers after {STARTUP_SECONDS:.0f} s\n{logs}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((LOOPBACK, 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
