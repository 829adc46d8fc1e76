"""What an error of a broken machine is told as."""

import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from py4j.clientserver import ClientServer, JavaParameters, PythonParameters
from py4j.java_gateway import JavaObject
from py4j.protocol import Py4JJavaError
from pyspark import SparkContext

from pipelines.errors import LockedError, SeqloomError, SourceError, WarehouseError
from pipelines.faults import told_plainly
from pipelines.lock import LOCK_FILE, hold_lock


def test_a_full_disk_is_told_wherever_it_stands_in_the_chain(tmp_path: Path) -> None:
    def write() -> None:
        try:
            Path("/dev/full").write_text("a lock")
        except OSError:
            raise RuntimeError("the stage failed") from None

    full = r"a disk is full: .*the warehouse .* MB free"
    with pytest.raises(WarehouseError, match=full) as raised, told_plainly(str(tmp_path)):
        write()
    assert raised.value.exit_status == 2


def test_what_is_told_already_stays(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^row 3"), told_plainly(str(tmp_path)):
        raise SourceError("row 3")
    with pytest.raises(ValueError, match=r"^a bug"), told_plainly(str(tmp_path)):
        raise ValueError("a bug")


def test_a_lost_worker_is_told(tmp_path: Path) -> None:
    with pytest.raises(SeqloomError, match="a Python worker ended"), told_plainly(str(tmp_path)):
        raise RuntimeError("org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)")


def test_an_error_of_a_jvm_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Java's errors ask their JVM for their words: here nobody listens any more."""
    gone = subprocess.Popen(["false"])
    listens = PythonParameters(port=0, daemonize=True, daemonize_connections=True)
    gateway = ClientServer(JavaParameters(port=closed_port()), listens)
    error = Py4JJavaError("An error occurred", JavaObject("o1", gateway._gateway_client))
    gateway.shutdown_callback_server()
    with pytest.raises(ConnectionRefusedError):
        str(error)
    monkeypatch.setattr(SparkContext, "_gateway", SimpleNamespace(proc=gone))
    monkeypatch.setattr(SparkContext, "_active_spark_context", None)
    with (
        pytest.raises(SeqloomError, match=r"JVM ended before the run did \(exit status 1\)"),
        told_plainly(str(tmp_path)),
    ):
        raise error


def closed_port() -> int:
    """On which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_whoever_lost_the_lock_hears_of_that_first(tmp_path: Path) -> None:
    """Whatever failed, it failed as another run works there."""
    with hold_lock(str(tmp_path), "first") as lock:
        (tmp_path / LOCK_FILE).unlink()
        with pytest.raises(LockedError, match="lost its lock"), told_plainly(str(tmp_path), lock):
            raise ValueError("a table changed")
