"""How long does a build of few events take, and what of it is starting?

    python benchmarks/small_build.py --events 10000 --repeat 3
    python benchmarks/small_build.py --events 10000 100000 300000 1000000 --repeat 1 --compare

Generates the events, builds them into a new warehouse by a process of its own, and prints medians: seconds in
all, until Spark has started (of it the JVM alone: until py4j answers in a process that does nothing else),
and of each stage. ``--compare`` builds with every setting of ``pipelines.small`` switched off as well, which
is how SMALL_BYTES was chosen.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engines.job import JOB, with_settings
from pipelines.small import SETTINGS
from pipelines.synthetic.generate import generate
from pipelines.synthetic.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
START = "start Spark"
JVM = """
import time
from pyspark import SparkContext
begin = time.perf_counter()
SparkContext._ensure_initialized()
print(time.perf_counter() - begin)
"""
USUAL = {
    "spark.sql.codegen.wholeStage": "true",
    "spark.sql.codegen.factoryMode": "FALLBACK",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.shuffle.partitions": "8",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.databricks.delta.stats.skipping": "true",
    "spark.driver.extraJavaOptions": "-Dseqloom=usual",
}
assert USUAL.keys() == SETTINGS.keys()


def config(folder: Path, settings: dict[str, str]) -> Path:
    """The demo's configuration with Spark settings."""
    path = folder / "config.toml"
    path.write_text(with_settings((ROOT / "conf" / "demo.toml").read_text(), settings))
    return path


def build(source: Path, folder: Path, settings: dict[str, str]) -> dict[str, float]:
    """Seconds of a build in a process of its own: of each stage, and ``in all``."""
    shutil.rmtree(folder / "warehouse", ignore_errors=True)
    words = ["--config", str(config(folder, settings)), "--source", str(source)]
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(JOB), *words, "--warehouse", str(folder / "warehouse")],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])["seconds"]
    return seconds | {"in all": time.perf_counter() - begin}


def jvm_seconds() -> float:
    """Until a new JVM answers."""
    done = subprocess.run([sys.executable, "-c", JVM], check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, nargs="+", default=[10_000])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--compare", action="store_true", help="with pipelines.small switched off as well")
    asked = parser.parse_args()
    ways = {"as it is": {}, **({"small off": USUAL, "small on": SETTINGS} if asked.compare else {})}
    with tempfile.TemporaryDirectory() as scratch:
        for events in asked.events:
            folder = Path(scratch) / str(events)
            generate(Settings(events=events), folder / "generated")
            taken: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
            bare = []
            for _ in range(asked.repeat):
                bare.append(jvm_seconds())
                for way, settings in ways.items():
                    taken[way].append(build(folder / "generated" / "events", folder, settings))
            for way, runs in taken.items():
                middle = {stage: median(run[stage] for run in runs) for stage in runs[0]}
                total = middle.pop("in all")
                jvm, start = median(bare), middle[START]
                print(
                    f"{events:,} events, {way}: {total:.1f} s in all, {start / total:.0%} of it {START} "
                    f"(the JVM alone {jvm:.1f} s, {jvm / total:.0%} of all)"
                )
                print("  " + ", ".join(f"{stage} {took:.1f}" for stage, took in middle.items()), flush=True)


if __name__ == "__main__":
    main()
