"""Kill -9 of a real stream at random instants: afterwards bronze is what one batch job makes of the files.

``pytest tests/streaming/test_killed.py -m slow -s`` prints seed, instants and delays.
"""

import random
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import deltalake
import pytest

from pipelines.config import load_config
from pipelines.ingest import ingest
from pipelines.pointer import published
from pipelines.warehouse import Warehouse
from tests.e2e.builds import NOW
from tests.pipelines.ingest_cases import events, rejected
from tests.streaming.broker import running_broker
from tests.streaming.cases import CONFIG, Stream, kill

SECOND = 1767225600  # 2026-01-01T00:00:00Z
COLUMNS = ("event_id", "user_id", "item_id", "category_id", "event_type", "mode", "ts")
KILLS = 5
LONGEST_SECONDS = 12.0
"""After Spark's start or, every second time, after the first batch: into batches and in between."""

STARTED, BATCH_DONE = "start Spark done", " rows in = "

PATIENCE_SECONDS = 300.0

pytestmark = [pytest.mark.usefixtures("spark"), pytest.mark.slow, pytest.mark.timeout(1800)]


def rows_of(number: int, rows: int = 40) -> list[str]:
    """Rows of one file: some are new, some were in the file before, one is refused."""
    first = number * rows * 3 // 4
    good = [f"u{k % 17},i{k % 29},c{k % 5},view,{SECOND + k}" for k in range(first, first + rows)]
    return [*good, f"broken {number}"]


def run_killed(case: Stream, words: list[str], chance: random.Random) -> None:
    """Start the job and kill it at a random instant, ``KILLS`` times."""
    for number in range(KILLS):
        process = case.process(*words)
        sign = BATCH_DONE if number % 2 else STARTED
        before, patience = case.log().count(sign), time.monotonic() + PATIENCE_SECONDS
        while case.log().count(sign) <= before:
            assert process.poll() is None and time.monotonic() < patience, case.log()[-3000:]
            time.sleep(0.1)
        instant = chance.uniform(0.0, LONGEST_SECONDS)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(instant)
        kill(process)
        pointer = published(str(case.warehouse))
        done = 0 if pointer is None else pointer.number + 1
        print(f"kill {number + 1} after {instant:.1f} s; {done} batches published")
    assert done, "every second kill came after a batch"


def test_files_survive_kills(tmp_path: Path, spark: Any) -> None:
    """Files arrive a few at a time, also while nobody reads."""
    case, seed = Stream(tmp_path), 11
    print(f"seed {seed}")
    for number in range(30):
        case.arrive_csv(f"{number:02}.csv", rows_of(number))
    words = ["--source", str(case.arriving), "--trigger", "1s", "--max-files", "1"]
    run_killed(case, words, random.Random(seed))
    case.arrive_csv("last.csv", rows_of(30))
    summary = case.run(max_files=40)
    assert summary["batches"] >= 1
    whole = Warehouse(spark, str(tmp_path / "whole"))
    ingest(whole, load_config(case.config, values={"source.path": str(case.arriving)}), "b1", NOW)
    streamed = Warehouse(spark, str(case.warehouse))
    assert events(streamed, *COLUMNS) == events(whole, *COLUMNS)
    assert rejected(streamed) == rejected(whole)
    assert not (case.warehouse / "ops" / "_lock").exists()


def test_kafka_survives_kills(tmp_path: Path, spark: Any) -> None:
    """A producer at a steady rate; the consumer is killed five times and ends by SIGTERM."""
    case, seed = Stream(tmp_path, CONFIG.replace('"csv"', '"jsonl"')), 12
    print(f"seed {seed}")
    sent: list[str] = []
    with running_broker(tmp_path / "kafka") as broker:
        producer = broker.producer("clicks")
        stop, thread = produce(producer, sent)
        words = ["--kafka", broker.bootstrap, "--topic", "clicks", "--trigger", "1s"]
        while len(sent) < 20:
            time.sleep(0.1)
        run_killed(case, words, random.Random(seed))
        process = case.process(*words)
        time.sleep(20)
        stop.set()
        thread.join()
        producer.communicate(timeout=60)
        assert producer.returncode == 0
        unique, broken = {line for line in sent if line.startswith("{")}, [x for x in sent if x[0] != "{"]
        streamed = Warehouse(spark, str(case.warehouse))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and published_events(case) < len(unique):
            time.sleep(1)
        time.sleep(3)
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0, case.log()[-3000:]
    print(f"{len(sent)} records sent; last process {case.last_summary()}")
    assert sorted(item for (item,) in events(streamed, "item_id")) == sorted(
        line.split('"item": "')[1].split('"')[0] for line in unique
    )
    assert sorted(raw for _, raw in rejected(streamed)) == sorted(broken)


def produce(producer: "subprocess.Popen[str]", sent: list[str]) -> tuple[threading.Event, threading.Thread]:
    """Records at 50 a second until told to stop: each tenth one again, each fiftieth broken."""
    stop, pipe = threading.Event(), producer.stdin
    assert pipe is not None

    def work() -> None:
        number = 0
        while not stop.wait(0.02):
            now = int(time.time())
            lines = [f'{{"user": "u{number % 17}", "item": "i{number}", "type": "view", "time": {now}}}']
            if number % 10 == 0:
                lines *= 2
            if number % 50 == 0:
                lines.append(f"broken {number}")
            for line in lines:
                pipe.write(f"{line}\n")
                sent.append(line)
            pipe.flush()
            number += 1

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return stop, thread


def published_events(case: Stream) -> int:
    """Rows of the published ``bronze/events``, by Delta's own count."""
    pointer = published(str(case.warehouse))
    if pointer is None:
        return 0
    table = deltalake.DeltaTable(f"{case.warehouse}/bronze/events", version=pointer.versions["bronze/events"])
    return sum(table.get_add_actions(flatten=True).column("num_records").to_pylist())
