"""How long do events take from their arrival to the commit that publishes them?

python benchmarks/streaming.py [--kafka] [--rate 100] [--seconds 120] [--trigger 1s] [--kills 0]

A producer writes events at a steady rate, into files (one a second) or to a real Kafka broker on loopback,
while jobs/stream_events.py takes them in, killed and started again --kills times. Prints rows sent and kept,
and the delays that the job tells, from file time or Kafka's record time to the commit: of all batches of the
last process, and of those after its first (a start costs seconds).
"""

import argparse
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.streaming.broker import running_broker
from tests.streaming.cases import CONFIG, Stream, kill

LINE = '{{"user": "u{user}", "item": "i{number}", "type": "view", "time": {now}}}'
BATCH = re.compile(r"batch \d+: ([\d,]+) rows in = .* delay p50 ([\d.]+) s, p99 ([\d.]+) s")
STARTED = "start Spark done"


class Producer:
    """Sends ``rate`` events a second in a thread of its own, ten times a second, until stopped."""

    def __init__(self, send: Callable[[list[str]], None], rate: int) -> None:
        self.sent = 0
        self._send, self._rate = send, rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        begun = time.monotonic()
        while not self._stop.wait(0.1):
            due = int((time.monotonic() - begun) * self._rate)
            now = int(time.time())
            numbers = range(self.sent, due)
            self._send([LINE.format(user=n % 997, number=n, now=now) for n in numbers])
            self.sent = due


def into_files(case: Stream) -> Callable[[list[str]], None]:
    """Lines gathered into a file a second."""
    held: list[str] = []
    last = [time.monotonic(), 0]

    def send(lines: list[str]) -> None:
        held.extend(lines)
        if time.monotonic() - last[0] >= 1 and held:
            case.arrive(f"{last[1]:06}.jsonl", held)
            held.clear()
            last[:] = [time.monotonic(), last[1] + 1]

    return send


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    case = Stream(folder, CONFIG.replace('"csv"', '"jsonl"'))
    with running_broker(folder / "kafka") if arguments.kafka else nullcontext() as broker:
        if broker is not None:
            console = broker.producer("clicks")
            assert console.stdin is not None

            def send(lines: list[str], pipe=console.stdin) -> None:  # type: ignore[no-untyped-def]
                pipe.write("".join(f"{line}\n" for line in lines))
                pipe.flush()

            words = ["--kafka", broker.bootstrap, "--topic", "clicks"]
        else:
            send, words = into_files(case), ["--source", str(case.arriving)]
        producer = Producer(send, arguments.rate)
        time.sleep(5)
        for start in range(arguments.kills + 1):
            process = case.process(*words, "--trigger", arguments.trigger)
            while case.log().count(STARTED) <= start:
                time.sleep(0.2)
            time.sleep(arguments.seconds / (arguments.kills + 1))
            if start < arguments.kills:
                kill(process)
        producer.stop()
        time.sleep(30)
        process.terminate()
        assert process.wait(120) == 0, case.log()[-2000:]
    report(case, producer.sent)


def report(case: Stream, sent: int) -> None:
    summary = case.last_summary()
    last = case.log().rpartition(STARTED)[2]
    batches = [(int(n.replace(",", "")), float(a), float(b)) for n, a, b in BATCH.findall(last)]
    print(f"{sent:,} events sent; last process: {summary}")
    later = batches[1:]
    if later:
        rows, middle = (statistics.median(batch[k] for batch in later) for k in (0, 1))
        print(
            f"{len(later)} batches after its first: {rows:,.0f} rows a batch, delay p50 {middle:.1f} s "
            f"(median of batches), p99 {max(batch[2] for batch in later):.1f} s (worst batch)"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kafka", action="store_true")
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--trigger", default="1s")
    parser.add_argument("--kills", type=int, default=0)
    with tempfile.TemporaryDirectory() as name:
        measure(parser.parse_args(), Path(name))
