"""How many cores, how much memory and money for so many events a day? A formula over what was measured.

    python benchmarks/sizing.py
    python benchmarks/sizing.py --events-per-day 3e7 2e9 --history-days 90 --hours 2 --core-hour 0.05

Prints two tables in Markdown: a day's run, and a build of the whole history. The constants were measured on
two cores; each says which command prints it: measure yours, and change them.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipelines.ingest import BROADCAST_IDS

BUILD_US = 30.0
"""Processor time of a build, µs an event, gates included: `whole_job.py --events 20000000`."""

KNOWN_US = 3.3
"""Of a day's run, for each event of the history: new ids are looked for among all, once to take them in and
once to judge that. `increment.py --events 20000000`, CPU of "nothing new" less that of `--events 20000`."""

KNOWN_SHUFFLED_US = 6.0
"""The same of a day with more than BROADCAST_IDS events, whose ids and all of the history's go through a
shuffle instead. Not measured by itself: a build's ingest, which shuffles each event once, and reads, cleans
and writes it as well, takes 5.4 (`whole_job.py --events 20000000`). None where ids are derived."""

REWRITE_US = 7.0
"""Of a day's run, for each event of the history in files that hold a touched user: these are written anew.
`increment.py`, CPU more than with nothing new, less BUILD_US for the day's events, by the table's share."""

START_S = 45.0
"""What a run takes that has nothing to do: Spark's start, planning, small tables. `increment.py --events
20000`, seconds in all of "nothing new"."""

BUSY = 0.77
"""Share of their time that cores are at work: the last tasks of a stage end unevenly. `whole_job.py`."""

PARTITION_EVENTS = 500_000
"""``spark.events_per_partition`` as it comes."""

DAY_FACTOR = 4
"""A day's run has partitions for so many times its events: with them come stored states and last sessions."""

MAX_PARTITIONS = 5_000
"""A shuffle has partitions × partitions blocks, and a write a file in each (and bucket); see limits.py."""

BYTES = {"bronze": 25.0, "silver": 28.0, "gold": 14.0}
"""Of a table's newest version, an event: `whole_job.py`. Old versions lie there until upkeep removes them."""

SCRATCH_BYTES = 275.0
"""On the workers' disks while a build runs, an event: shuffles, and rows kept for later passes.
`whole_job.py --events 100000000`, scratch."""

CORE_GIB = 3.5
"""Memory of a core with one such partition: its share of the JVM, and its Python worker. `whole_job.py
--events 100000000`; with less it spills, down to 1 GiB of JVM (`--memory`)."""

DRIVER_GIB = 4.0
"""Of a driver with little to hold: our choice; so 4 M users go to every core (pipelines/broadcast.py)."""

TASK_BYTES = 3_000.0
"""Of the driver, a task of its largest stage: `limits.py`, tasks, MiB old at peak."""

BLOCK_BYTES = 1.0
"""Of the driver, a block of its largest shuffle: `limits.py`, shuffle, MiB held (0.6 with 2,500 × 2,500)."""

FILE_BYTES = 1_600.0
"""Of the driver, a file in the log of a table that it reads: `limits.py`, log, MiB held."""

FILES = 8
"""Live files in all tables, for each partition of a build: gold has one for each bucket of lengths."""


def partitions(events: float) -> int:
    """For that many events."""
    return max(1, min(MAX_PARTITIONS, ceil(events / PARTITION_EVENTS)))


@dataclass(frozen=True)
class Run:
    """A run of ``cpu_s`` processor seconds whose largest shuffle moves ``events``; stored are ``history``."""

    cpu_s: float
    events: float
    history: float
    hours: float

    @property
    def cores(self) -> int:
        """That end it within ``hours``; at least 2."""
        return max(2, ceil(self.cpu_s / BUSY / max(self.hours * 3_600 - START_S, 1)))

    @property
    def core_hours(self) -> float:
        """That are paid for."""
        return (self.cpu_s / BUSY + START_S * self.cores) / 3_600

    @property
    def partitions(self) -> int:
        """Of that shuffle."""
        return partitions(self.events)

    @property
    def partition_events(self) -> float:
        """What ``spark.events_per_partition`` should say."""
        return max(PARTITION_EVENTS, self.events / self.partitions)

    @property
    def core_gib(self) -> float:
        """Memory of a core: what exceeds the usual partition comes on top, 200 bytes an event."""
        return CORE_GIB + (self.partition_events - PARTITION_EVENTS) * 200 / 2**30

    @property
    def scratch_bytes(self) -> float:
        """On the workers' disks, of all together."""
        return self.events * SCRATCH_BYTES

    @property
    def driver_gib(self) -> float:
        """Memory of the driver: tasks, blocks (of as many map tasks as partitions) and files of logs."""
        files = FILES * partitions(self.history)
        held = self.partitions * TASK_BYTES + self.partitions**2 * BLOCK_BYTES + files * FILE_BYTES
        return DRIVER_GIB + held / 2**30


def day(events: float, history: float, touched: float, hours: float) -> Run:
    """A day's run, by the source's ids; ``touched``: the share of the history that is rewritten."""
    all_ids = events > BROADCAST_IDS  # go through the shuffle
    known_us = KNOWN_SHUFFLED_US if all_ids else KNOWN_US
    cpu_us = events * BUILD_US + history * (known_us + touched * REWRITE_US)
    moved = max(DAY_FACTOR * events, history + events if all_ids else 0)
    return Run(cpu_us / 1e6, moved, history, hours)


def build(history: float, hours: float) -> Run:
    """Everything anew."""
    return Run(history * BUILD_US / 1e6, history, history, hours)


def number(value: float, billion: str = "B") -> str:
    """Three digits and a word: 1,200,000 is 1.2 M."""
    for size, word in ((1e12, "T"), (1e9, billion), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {word}"
    return f"{value:.3g}"


def table(daily: list[float], asked: argparse.Namespace, of: Callable[[float], Run]) -> str:
    """A row for each size."""
    heads = ["events a day", "cores", "GiB a core", "GiB of the driver", "partitions", "events each"]
    heads += ["core hours", "cost", "tables", "scratch, at most"]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for events in daily:
        run = of(events)
        cells = [number(events), f"{run.cores:,}", f"{run.core_gib:.1f}", f"{run.driver_gib:.1f}"]
        cells += [f"{run.partitions:,}", number(run.partition_events), f"{run.core_hours:,.1f}"]
        cells.append(f"{run.core_hours * asked.core_hour:,.2f}")
        cells += [f"{number(size, 'G')}B" for size in (run.history * sum(BYTES.values()), run.scratch_bytes)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events-per-day", type=float, nargs="+", default=[1e6, 1e7, 1e8, 1e9, 1e10])
    parser.add_argument("--history-days", type=float, default=30)
    parser.add_argument("--hours", type=float, default=2, help="within which a day's run is to end")
    parser.add_argument("--build-hours", type=float, default=8, help="within which a build is to end")
    parser.add_argument("--touched", type=float, default=1.0, help="share of files with a user who came")
    parser.add_argument("--core-hour", type=float, default=0.05, help="price of a core's hour")
    asked = parser.parse_args()
    days = asked.history_days
    print(f"A day's run, {days:g} days of history, within {asked.hours:g} hours:\n")
    print(
        table(
            asked.events_per_day,
            asked,
            lambda events: day(events, events * days, asked.touched, asked.hours),
        )
    )
    print(f"\nA build of {days:g} days, within {asked.build_hours:g} hours:\n")
    print(table(asked.events_per_day, asked, lambda events: build(events * days, asked.build_hours)))


if __name__ == "__main__":
    main()
