"""What does the whole main job cost beside its core path, and how does it grow?

    python benchmarks/whole_job.py --events 1000000 4000000 --repeat 1 --out bench
    python benchmarks/whole_job.py --events 20000000 --heavy 0 0.05 --out bench

Builds the events of benchmarks/engines (every stage, gates, Delta, report) by a process of its own, and runs
the core path on the same events in the same round. Prints medians: seconds, the ratio to the core path, the
gates' share, peak memory of all processes, bytes written, bytes of ``gold/user_sequences`` an event, and each
stage. ``--heavy`` gives that share of the events to one user.
"""

import argparse
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engines.data import DAYS, FIRST_S, make
from benchmarks.engines.measure import GIB, Cost, measure
from pipelines.instants import from_micros

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


@dataclass(frozen=True)
class Built:
    """One build of the whole job."""

    cost: Cost
    summary: dict[str, Any]
    gold_bytes: int


def build(source: Path, out: Path) -> Built:
    """Run the job into a new warehouse."""
    target = out / "warehouse"
    shutil.rmtree(target, ignore_errors=True)
    (out / "job.toml").write_text(CONFIG)
    job = [sys.executable, str(ROOT / "jobs" / "build_sequences.py"), "--config", str(out / "job.toml")]
    cost = measure([*job, "--source", str(source), "--warehouse", str(target)], target)
    log = (out / f"{target.name}.log").read_text()
    gold = sum(file.stat().st_size for file in (target / "gold" / "user_sequences").rglob("*.parquet"))
    return Built(cost, json.loads(log.splitlines()[-1]), gold)


def core(source: Path, out: Path) -> Cost:
    """The core path of the same events."""
    target = out / "core"
    shutil.rmtree(target, ignore_errors=True)
    program = str(ROOT / "benchmarks" / "engines" / "with_seqloom.py")
    return measure(
        [sys.executable, program, str(source), str(target)], target, os.environ | {"PYTHONPATH": str(ROOT)}
    )


def show(events: int, heavy: float, builds: list[Built], cores: list[Cost]) -> None:
    seconds = [one.cost.seconds for one in builds]
    middle, beside = median(seconds), median(cost.seconds for cost in cores)
    gates = median(sum(one.summary["gate_seconds"].values()) for one in builds)
    span = f"{min(seconds):.0f}–{max(seconds):.0f}"
    print(f"\n{events:,} events, {heavy:.0%} of them one user's: {middle:.0f} s ({span})")
    times = f"{middle / beside:.1f} × the core path ({beside:.1f} s)"
    cpu = median(one.cost.cpu_seconds for one in builds)
    times += f", {cpu:.0f} s of CPU = {cpu / events * 1e6:.0f} µs an event"
    print(f"  {times}, gates {gates:.1f} s = {gates / middle:.1%}")
    peak = median(one.cost.peak_bytes for one in builds) / GIB
    written = median(one.cost.written_bytes for one in builds) / 1e6
    gold = median(one.gold_bytes for one in builds) / events
    print(f"  {peak:.1f} GiB at most, {written:,.0f} MB in the warehouse, {gold:.1f} bytes of gold an event")
    stages = builds[0].summary["seconds"]
    print(
        "  "
        + ", ".join(f"{name} {median(b.summary['seconds'][name] for b in builds):.1f}" for name in stages)
    )
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 4_000_000])
    parser.add_argument("--heavy", type=float, nargs="+", default=[0.0])
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("bench"))
    asked = parser.parse_args()
    out = asked.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    for events in asked.events:
        for heavy in asked.heavy:
            source = out / f"events-{events}-{heavy:g}"
            make(events, source, heavy)
            builds, cores = [], []
            for _ in range(asked.repeat):
                builds.append(build(source, out))
                cores.append(core(source, out))
            show(events, heavy, builds, cores)


if __name__ == "__main__":
    main()
