"""Why not just DuckDB or Polars? The same work by each of them, in turn, in one table.

    make bench
    python benchmarks/bench.py --events 1000000 4000000 --repeat 3 --out bench
    python benchmarks/bench.py --events 20000000 100000000 --engines seqloom polars duckdb

Task `sequences`: raw Parquet to each user's last 1,024 events with session ordinals (benchmarks/engines).
Task `sessions`: the session part alone, beside RePlay's Sessionizer. `seqloom` is the path of its jobs;
`seqloom_packed` is what Spark could do with Arrow blobs, which no job uses. Every engine is a process of its
own, from its start until its last process has ended; the order changes from round to round, results must have
equal hashes, and the table gives medians, the ratio to every engine in turn, processor seconds, peak memory
of all its processes, bytes of the result and bytes sent to disks, spill and temporary files included. With
`--heavy` the other users follow a Zipf law. Writes bench/results.jsonl, bench/table.md and bench/cost.png.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import altair as alt
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engines.check import content, sessions
from benchmarks.engines.data import made
from benchmarks.engines.measure import GIB, Cost, measure

ROOT = Path(__file__).resolve().parents[1]
PEERS, REPLAY = ROOT / ".venv-peers" / "bin" / "python", ROOT / ".venv-replay" / "bin" / "python"
ENGINES = {
    "sequences": {
        "seqloom": (Path(sys.executable), "with_seqloom.py", ()),
        "seqloom_packed": (Path(sys.executable), "with_seqloom_packed.py", ()),
        "polars": (PEERS, "with_polars.py", ()),
        "duckdb": (PEERS, "with_duckdb.py", ()),
        "spark_windows": (Path(sys.executable), "with_spark_windows.py", ()),
    },
    "sessions": {
        "seqloom": (Path(sys.executable), "with_seqloom.py", ("sessions",)),
        "seqloom_packed": (Path(sys.executable), "with_seqloom_packed.py", ("sessions",)),
        "replay": (REPLAY, "with_replay.py", ()),
    },
}


@dataclass(frozen=True)
class Result:
    """One run of one engine."""

    task: str
    events: int
    engine: str
    cost: Cost
    content: tuple[int, int, str]


def run(task: str, engine: str, source: Path, events: int, out: Path) -> Result:
    """Run an engine once; what it wrote is hashed and thrown away."""
    python, program, more = ENGINES[task][engine]
    target = out / f"{task}-{engine}"
    shutil.rmtree(target, ignore_errors=True)
    command = [str(python), str(ROOT / "benchmarks" / "engines" / program), str(source), str(target), *more]
    cost = measure(command, target, os.environ | {"PYTHONPATH": str(ROOT)})
    found = content(target) if task == "sequences" else sessions(target)
    shutil.rmtree(target)
    return Result(task, events, engine, cost, found)


def rounds(task: str, engines: list[str], asked: argparse.Namespace) -> Iterator[Result]:
    """Every engine ``--repeat`` times on each size; RuntimeError where two of them disagree."""
    for events in asked.events:
        source = made(asked.out, events, asked.heavy, zipf=asked.heavy > 0)
        expected = None
        for number in range(asked.repeat):
            turn = number % len(engines)
            for engine in engines[turn:] + engines[:turn]:
                result = run(task, engine, source, events, asked.out)
                tell(f"{task}, {events:,} events, {engine}: {result.cost.seconds:.1f} s")
                expected = expected or result.content
                if result.content != expected:
                    raise RuntimeError(f"{engine} found {result.content}, the first engine {expected}")
                yield result


def table(results: list[Result]) -> str:
    """Medians as Markdown, a block for each task and size."""
    blocks = []
    for task, events in dict.fromkeys((one.task, one.events) for one in results):
        own = [one for one in results if (one.task, one.events) == (task, events)]
        engines = list(dict.fromkeys(sorted((one.engine for one in own), key=list(ENGINES[task]).index)))
        seconds = {name: median(one.cost.seconds for one in own if one.engine == name) for name in engines}
        heads = ["engine", "s", "from–to", *(f"× {name}" for name in engines), "CPU s", "GiB"]
        heads += ["MB written", "MB to disk"]
        lines = [f"**{task}, {events:,} events**", "", _row(heads), _row(["---"] * len(heads))]
        for name in engines:
            costs = [one.cost for one in own if one.engine == name]
            times = [cost.seconds for cost in costs]
            cells = [name, f"{seconds[name]:.1f}", f"{min(times):.1f}–{max(times):.1f}"]
            cells += [f"{seconds[name] / seconds[other]:.2f}" for other in engines]
            cells.append(f"{median(cost.cpu_seconds for cost in costs):.0f}")
            cells.append(f"{median(cost.peak_bytes for cost in costs) / GIB:.1f}")
            cells.append(f"{median(cost.written_bytes for cost in costs) / 1e6:.0f}")
            cells.append(f"{median(cost.disk_bytes for cost in costs) / 1e6:.0f}")
            lines.append(_row(cells))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def plot(results: list[Result], path: Path) -> None:
    """Seconds and memory against events, an engine a colour; both axes logarithmic."""
    rows = [
        {"task": one.task, "events": one.events, "engine": one.engine, "seconds": one.cost.seconds,
         "memory": one.cost.peak_bytes / GIB} for one in results
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    scale = alt.Scale(type="log", nice=False, padding=20)
    sizes = alt.Axis(format="~s", values=sorted({row["events"] for row in rows}))
    charts = []
    for value, title in (("seconds", "Time in seconds, median"), ("memory", "Peak memory in GiB, median")):
        base = alt.Chart(frame, width=320, height=260).encode(
            x=alt.X("events", scale=scale, title="Events", axis=sizes),
            y=alt.Y(f"median({value})", scale=scale, title=title),
            color=alt.Color("engine", title="Engine"),
        )
        lines = base.mark_line(point=alt.OverlayMarkDef(size=70))
        charts.append(lines.facet(column=alt.Column("task:N", header=alt.Header(title=None))))
    beside = alt.hconcat if frame["task"].nunique() == 1 else alt.vconcat
    beside(*charts).save(str(path), scale_factor=2)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 4_000_000])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--heavy", type=float, default=0.0, help="share of all events that one user has")
    parser.add_argument("--tasks", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    known = sorted({name for engines in ENGINES.values() for name in engines})
    parser.add_argument("--engines", nargs="+", choices=known, default=known)
    parser.add_argument("--out", type=Path, default=Path("bench"))
    asked = parser.parse_args()
    asked.out = asked.out.resolve()
    asked.out.mkdir(parents=True, exist_ok=True)
    results = []
    with (asked.out / "results.jsonl").open("w") as lines:
        for task in asked.tasks:
            engines = [name for name in ENGINES[task] if name in asked.engines]
            if not engines:
                tell(f"{task}: left out, none of {', '.join(asked.engines)} does it")
                continue
            if len(engines) == 1:
                tell(f"{task}: {engines[0]} is alone, its results are compared with no other's")
            for result in rounds(task, engines, asked):
                results.append(result)
                lines.write(json.dumps(asdict(result)) + "\n")
                lines.flush()
    if not results:
        parser.error(f"none of {', '.join(asked.engines)} does {', '.join(asked.tasks)}")
    (asked.out / "table.md").write_text(table(results) + "\n")
    plot(results, asked.out / "cost.png")
    print(table(results))
    tell(f"plot: {asked.out / 'cost.png'}")


if __name__ == "__main__":
    main()
