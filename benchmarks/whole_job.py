"""What does the whole main job cost beside its core path, and how does it grow?

    python benchmarks/whole_job.py --events 1000000 4000000 --repeat 1 --out bench
    python benchmarks/whole_job.py --events 20000000 100000000 --out bench
    python benchmarks/whole_job.py --events 20000000 --heavy 0 0.05 --out bench
    python benchmarks/whole_job.py --events 4000000 --memory 8g 2g 1g --repeat 1 --out bench

Builds the events of benchmarks/engines (every stage, gates, Delta, report) by a process of its own, and runs
both core paths (always a JVM of 6 GiB) on the same events in the same round; sizes and shares take turns
within a round. Prints medians of ``--repeat`` rounds (three by default): seconds until the last process has
ended, the ratio to the faster core path, processor time and how busy it kept the cores, the gates' share,
peak memory of all processes, bytes an event of each layer and of Spark's temporary files at their most,
bytes shuffled, spilled and passed to and from Python workers by Spark's event log, and each stage; at the end
the ratios of the largest to the smallest size, of a heavy user to none, and of each driver's memory to the
first. ``--heavy`` gives that share of the events to one user; then the users of all cases follow a Zipf law
(benchmarks/engines/data.py). ``--memory`` gives Spark's JVM so much in turn, instead of a third of the
machine's.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engines.data import DAYS, FIRST_S, made
from benchmarks.engines.event_log import Traffic, settings, traffic
from benchmarks.engines.job import JOB, run_job, with_settings
from benchmarks.engines.measure import GIB, Cost, folder_bytes, measure
from pipelines.instants import from_micros
from pipelines.spark import driver_memory

ROOT = Path(__file__).resolve().parents[1]
END = from_micros((FIRST_S + (DAYS + 1) * 86_400) * 1_000_000)
CONFIG = f"""\
[source]
path = "events"
format = "parquet"
ts_unit = "iso"
[source.columns]
user_id = "user_id"
item_id = "item_id"
category_id = "category_id"
event_type = "event_type"
ts = "ts"
[source.event_types]
pv = "browse"
cart = "intent"
fav = "intent"
buy = "purchase"
[source.window]
end = "{END.isoformat()}"
[gates]
min_vector_coverage = 0.0
"""


LAYERS = ("bronze", "silver", "gold")
CORE_PATHS = {"seqloom": "with_seqloom.py", "seqloom_packed": "with_seqloom_packed.py"}
CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Case:
    """Events, the share of them that one user has, and the memory of Spark's JVM."""

    events: int
    heavy: float
    memory: str

    def __str__(self) -> str:
        return f"{self.events:,} events, {self.heavy:.0%} of them one user's, JVM {self.memory}"


@dataclass(frozen=True)
class Round:
    """One build of the whole job, and the core paths beside it."""

    cost: Cost
    summary: dict[str, Any]
    layer_bytes: dict[str, int]
    traffic: Traffic
    cores: dict[str, Cost]


def build(source: Path, out: Path, memory: str) -> tuple[Cost, dict[str, Any], dict[str, int], Traffic]:
    """Run the job into a new warehouse: what it took, its summary, bytes of each layer, and the traffic."""
    log = out / "event-log"
    shutil.rmtree(log, ignore_errors=True)
    log.mkdir()
    config = with_settings(CONFIG, {"spark.driver.memory": memory, **settings(log)})
    cost, summary = run_job([sys.executable, str(JOB)], config, source, out)
    sizes = {layer: folder_bytes(out / "warehouse" / layer, ".parquet") for layer in LAYERS}
    return cost, summary, sizes, traffic(log)


def core(name: str, source: Path, out: Path) -> Cost:
    """A core path of the same events."""
    target = out / f"core-{name}"
    shutil.rmtree(target, ignore_errors=True)
    program = str(ROOT / "benchmarks" / "engines" / CORE_PATHS[name])
    return measure(
        [sys.executable, program, str(source), str(target)], target, os.environ | {"PYTHONPATH": str(ROOT)}
    )


def middle(rounds: list[Round], of: Callable[[Round], float]) -> float:
    return median(of(one) for one in rounds)


def seconds(one: Round) -> float:
    return one.cost.seconds


def peak(one: Round) -> float:
    return one.cost.peak_bytes / GIB


def gate_seconds(one: Round) -> float:
    return float(sum(one.summary["gate_seconds"].values()))


def show(case: Case, rounds: list[Round]) -> None:
    """What a case took."""
    events, took = case.events, middle(rounds, seconds)
    span = f"{min(map(seconds, rounds)):.0f}–{max(map(seconds, rounds)):.0f}"
    print(
        f"\n{events:,} events, {case.heavy:.0%} of them one user's, JVM {case.memory}: {took:.0f} s ({span})"
    )
    cores = {name: median(one.cores[name].seconds for one in rounds) for name in CORE_PATHS}
    best, other = sorted(cores, key=lambda name: cores[name])
    beside = f"  {took / cores[best]:.1f} × the core path {best} ({cores[best]:.1f} s"
    print(f"{beside}; {other}: {cores[other]:.1f} s)")
    cpu = middle(rounds, lambda one: one.cost.cpu_seconds)
    busy = middle(rounds, lambda one: one.cost.cpu_seconds / one.cost.seconds / CORES)
    print(f"  {cpu:.0f} s of CPU = {cpu / events * 1e6:.0f} µs an event, {CORES} cores {busy:.0%} busy")
    gates = middle(rounds, gate_seconds)
    print(f"  gates {gates:.1f} s = {gates / took:.1%}")
    gib = middle(rounds, peak)
    sizes = {layer: middle(rounds, lambda one, layer=layer: one.layer_bytes[layer]) for layer in LAYERS}
    sizes["scratch"] = middle(rounds, lambda one: one.cost.scratch_bytes)
    each = ", ".join(f"{name} {size / events:.1f}" for name, size in sizes.items())
    print(f"  {gib:.1f} GiB at most = {gib / CORES:.1f} a core; bytes an event: {each}")
    written = middle(rounds, lambda one: one.cost.written_bytes) / 1e6
    disk = middle(rounds, lambda one: one.cost.disk_bytes) / 1e6
    print(f"  {written:,.0f} MB in the warehouse, {disk:,.0f} MB to disk")
    last = rounds[-1].traffic
    sums = {
        "shuffled": last.shuffled_bytes,
        "spilled": last.spilled_bytes,
        "to Python": last.to_python_bytes,
        "from Python": last.from_python_bytes,
    }
    moved = ", ".join(f"{name} {size / events:.1f}" for name, size in sums.items())
    print(f"  bytes an event {moved}; {last.queries} queries, {last.tasks:,} tasks,")
    print(f"  which collected garbage for {last.collecting_seconds:.0f} s in all")
    stages = {
        name: middle(rounds, lambda one, name=name: one.summary["seconds"][name])
        for name in rounds[0].summary["seconds"]
    }
    print("  " + ", ".join(f"{name} {value:.1f}" for name, value in stages.items()))


def compare(found: dict[Case, list[Round]]) -> None:
    """Ratios of the largest to the smallest size, of each share to none, and of each memory to the first."""
    print()
    first = next(iter(found))
    for heavy, memory in dict.fromkeys((case.heavy, case.memory) for case in found):
        own = [case for case in found if (case.heavy, case.memory) == (heavy, memory)]
        small, large = (of(own, key=lambda case: case.events) for of in (min, max))
        if large != small:
            print(f"{large}, against {small.events:,}: {ratios(found[large], found[small])}")
    for case, rounds in found.items():
        without, roomy = replace(case, heavy=0.0), replace(case, memory=first.memory)
        if case != without and without in found:
            print(f"{case}, against no such user: {ratios(rounds, found[without])}")
        if case != roomy:
            print(f"{case}, against {roomy.memory}: {ratios(rounds, found[roomy])}")


def ratios(one: list[Round], other: list[Round]) -> str:
    time, memory = (middle(one, of) / middle(other, of) for of in (seconds, peak))
    return f"{time:.2f} × the time, {memory:.2f} × the peak memory"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 4_000_000])
    parser.add_argument("--heavy", type=float, nargs="+", default=[0.0])
    parser.add_argument("--memory", nargs="+", default=[driver_memory()], help="of Spark's JVM")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("bench"))
    asked = parser.parse_args()
    out = asked.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    sizes = product(asked.events, asked.heavy, asked.memory)
    cases = [Case(events, heavy, memory) for events, heavy, memory in sizes]
    sources = {case: made(out, case.events, case.heavy, zipf=any(asked.heavy)) for case in cases}
    found: dict[Case, list[Round]] = {case: [] for case in cases}
    for number in range(asked.repeat):
        turn = number % len(cases)
        for case in cases[turn:] + cases[:turn]:
            built = build(sources[case], out, case.memory)
            cores = {name: core(name, sources[case], out) for name in CORE_PATHS}
            found[case].append(Round(*built, cores))
            print(f"round {number + 1}: {case} {built[0].seconds:.0f} s", file=sys.stderr, flush=True)
    for case, rounds in found.items():
        show(case, rounds)
    compare(found)


if __name__ == "__main__":
    main()
