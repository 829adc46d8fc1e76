"""The main job on one machine's cores and on a real cluster of two workers: the same tables, time by stage.

    python benchmarks/cluster_stages.py --events 1000000 --out bench

Builds the events of benchmarks/engines in local mode with two cores, and on a standalone master with two
workers of one core each on loopback, which get our code as a zip; ``--repeat`` times, in turn. Local mode's
JVM has 2 GiB, the cluster's driver 1 GiB and each executor 2 GiB. Ends with an error where one table's rows
are not the same (tests/content.py, sums of row hashes without run metadata). Prints medians of seconds, of
each stage, as a table in Markdown.
"""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engines.data import made
from benchmarks.engines.job import JOB, run_job
from benchmarks.whole_job import CONFIG
from tests.cluster import Cluster, environment, pack, running_cluster
from tests.content import row_sums

Seconds = dict[str, float]


def build(command: list[str], source: Path, out: Path) -> tuple[Seconds, dict[str, int]]:
    """Run the job by ``command``: seconds of each stage and ``in all``, and the sums of each table's rows."""
    cost, summary = run_job(command, CONFIG, source, out, os.environ | environment())
    seconds: Seconds = summary["seconds"]
    return seconds | {"in all": cost.seconds}, row_sums(out / "warehouse")


def commands(cluster: Cluster, code: Path) -> dict[str, list[str]]:
    """How the job is begun here and there."""
    submit = Path(sys.executable).with_name("spark-submit")
    local = [str(submit), "--master", "local[2]", "--driver-memory", "2g", str(JOB)]
    return {"local[2]": local, "2 workers": cluster.submit(code, JOB, executor_memory="2g")}


def show(taken: dict[str, list[Seconds]]) -> None:
    """A row for each stage."""
    names = list(taken)
    print(f"| stage | {' | '.join(f'{name}, s' for name in names)} | ratio |")
    print("|" + " --- |" * (len(names) + 2))
    for stage in taken[names[0]][0]:
        values = [median(run[stage] for run in taken[name]) for name in names]
        cells = [stage, *(f"{value:.1f}" for value in values), f"{values[1] / values[0]:.2f}"]
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("bench"))
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the cluster, too
    out = asked.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    source = made(out, asked.events, 0.0, zipf=False)
    with tempfile.TemporaryDirectory(prefix="seqloom-cluster-") as scratch:
        code = pack(Path(scratch) / "seqloom.zip")
        with running_cluster(Path(scratch), memory="3g") as cluster:
            ways = commands(cluster, code)
            taken: dict[str, list[Seconds]] = {name: [] for name in ways}
            expected = None
            for number in range(asked.repeat):
                for name in sorted(ways, reverse=bool(number % 2)):
                    seconds, sums = build(ways[name], source, out)
                    taken[name].append(seconds)
                    print(f"{name}: {seconds['in all']:.1f} s", file=sys.stderr, flush=True)
                    expected = expected or sums
                    if sums != expected:
                        raise RuntimeError(f"{name} made {sums}, the first way {expected}")
    show(taken)
    print(f"\nThe same rows in {', '.join(expected or ())}.")


if __name__ == "__main__":
    main()
