"""A real Kafka broker on loopback, from Maven Central's packages, and a producer of lines."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyspark

from pipelines.setup_jars import fetch_jars

KAFKA_PACKAGE: Final = "org.apache.kafka:kafka_2.13:3.9.1"
STARTUP_SECONDS: Final = 90
CLUSTER_ID: Final = "c2VxbG9vbS10ZXN0LWlkLQ"  # 16 bytes in base64

_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder}/log
num.partitions=3
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
auto.create.topics.enable=true
"""


@dataclass(frozen=True)
class Broker:
    """A running broker; topics are made by the first message, with three partitions."""

    bootstrap: str
    jars: Path

    def producer(self, topic: str) -> "subprocess.Popen[str]":
        """A process that sends each line of its standard input as one message; it ends with the input."""
        words = ["--bootstrap-server", self.bootstrap, "--topic", topic, "--request-required-acks", "all"]
        words += ["--producer-property", "linger.ms=20"]
        command = _java(self.jars, "kafka.tools.ConsoleProducer", *words)
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, text=True)

    def send(self, topic: str, lines: list[str]) -> None:
        """All lines, and back when the broker has them."""
        producer = self.producer(topic)
        producer.communicate("".join(f"{line}\n" for line in lines), timeout=STARTUP_SECONDS)
        assert producer.returncode == 0


@contextmanager
def running_broker(folder: Path) -> Iterator[Broker]:
    """A broker whose files lie in ``folder``; it ends with the block."""
    jars = fetch_jars(KAFKA_PACKAGE, folder / "ivy")[0].parent
    port, controller = _free_ports(2)
    properties = folder / "server.properties"
    properties.write_text(_PROPERTIES.format(port=port, controller=controller, folder=folder))
    formatting = ["format", "-t", CLUSTER_ID, "-c", str(properties)]
    subprocess.run(_java(jars, "kafka.tools.StorageTool", *formatting), check=True, capture_output=True)
    with (folder / "broker.log").open("w") as log:
        process = subprocess.Popen(
            _java(jars, "kafka.Kafka", str(properties)), stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _await_port(process, port, folder / "broker.log")
            yield Broker(f"127.0.0.1:{port}", jars)
        finally:
            process.kill()
            process.wait()


def _java(jars: Path, main: str, *words: str) -> list[str]:
    java = shutil.which("java")
    assert java is not None, "the test needs Java on the PATH"
    # Spark's resolver leaves out what Spark has itself: Scala.
    scala = sorted(Path(pyspark.__file__).parent.glob("jars/scala-*.jar"))
    path = ":".join([f"{jars}/*", *map(str, scala)])
    return [java, "-Xmx384m", "-cp", path, main, *words]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _await_port(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"no broker after {STARTUP_SECONDS} s: {log.read_text()[-2000:]}")
