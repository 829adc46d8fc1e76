"""What breaks first when events grow? The parts of a driver that no machine at hand can fill, simulated.

    python benchmarks/limits.py                       # about ten minutes
    python benchmarks/limits.py --tasks 10000 --maps 1000 --files 20000

- tasks: an empty task for each of N partitions: seconds and driver memory a task costs the scheduler;
- shuffle: N map and N reduce tasks, a row from every one to every one: what N × N blocks cost, none empty;
- log: a Delta table of N files that only its log knows (statistics of two columns, as ours): its bytes, and
  the seconds and memory to open it and to find the files of a day.

MiB are the driver's heap: what it held beyond the start after a collection, the peak of its old generation
(what outlived collections while it ran) and of all of it (the pools' peaks summed: garbage not yet collected
is in there, the less the smaller ``--memory``). Every figure is a process of its own in local mode, where
tasks share that heap; benchmarks/README.md (What breaks first) says what follows from them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.schema import Schema
from deltalake.transaction import AddAction, create_table_with_add_actions

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.spark import start_spark
from pipelines.warehouse import properties

DAY_FILES = 200
COLUMNS = pa.schema(
    [("ts", pa.timestamp("us", tz="UTC")), ("user_id", pa.string()), ("n_events", pa.int32())]
)


class Heap:
    """What becomes of the driver's heap from now on."""

    def __init__(self, spark: SparkSession) -> None:
        self.jvm: Any = spark.sparkContext._jvm
        beans = self.jvm.java.lang.management.ManagementFactory.getMemoryPoolMXBeans()
        self.pools = [bean for bean in beans if bean.getType().name() == "HEAP"]
        self.before = self.held()
        for pool in self.pools:
            pool.resetPeakUsage()

    def held(self) -> float:
        """MiB in use after a collection."""
        runtime = self.jvm.java.lang.Runtime.getRuntime()
        self.jvm.System.gc()
        return float(runtime.totalMemory() - runtime.freeMemory()) / 2**20

    def figures(self) -> dict[str, float]:
        """MiB held, beyond those before, and at the peaks."""
        peaks = {pool.getName(): pool.getPeakUsage().getUsed() / 2**20 for pool in self.pools}
        old = sum(peak for name, peak in peaks.items() if "Old" in name)
        return {
            "MiB held": self.held() - self.before,
            "MiB old at peak": old,
            "MiB at peak": sum(peaks.values()),
        }


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def tasks(spark: SparkSession, count: int, _folder: Path) -> dict[str, float]:
    """Of an empty task for each partition."""
    spark.range(0, 100, 1, 100).write.format("noop").mode("overwrite").save()
    heap = Heap(spark)
    took = timed(lambda: spark.range(0, count, 1, count).write.format("noop").mode("overwrite").save())
    return {"ms a task": 1e3 * took / count, **heap.figures()}


def shuffle(spark: SparkSession, count: int, _folder: Path) -> dict[str, float]:
    """Of a row from every map task to every reduce task."""
    spark.conf.set("spark.sql.adaptive.enabled", "false")
    spark.range(0, 100, 1, 10).repartition(10).write.format("noop").mode("overwrite").save()
    heap = Heap(spark)
    blocks = count * count
    # Without columns to hash, each map task deals its rows out in turn: as many as there are reducers.
    frame = spark.range(0, blocks, 1, count).repartition(count)
    took = timed(lambda: frame.write.format("noop").mode("overwrite").save())
    return {"µs a block": 1e6 * took / blocks, "s": took, **heap.figures()}


def log(spark: SparkSession, count: int, folder: Path) -> dict[str, float]:
    """Of a table whose files only its log knows."""
    path = str(folder / "table")
    schema, settings = Schema.from_arrow(COLUMNS), dict(properties(COLUMNS.names))
    create_table_with_add_actions(path, schema, [], configuration=settings)
    table = DeltaTable(path)
    for day in range(-(-count // DAY_FILES)):
        adds = [add(day, number) for number in range(DAY_FILES)]
        table.create_write_transaction(adds, "append", schema)
    one_day = F.col("ts").between("2026-01-02", "2026-01-02 23:59:59")

    def of_a_day() -> int:
        return len(spark.read.format("delta").load(path).where(one_day).inputFiles())

    bytes_ = sum(file.stat().st_size for file in (folder / "table" / "_delta_log").iterdir())
    heap = Heap(spark)
    first = timed(of_a_day)
    found = {"bytes a file": bytes_ / count, "s to open": first, "s again": timed(of_a_day)}
    found |= heap.figures()
    DeltaTable(path).create_checkpoint()
    found["s by delta-rs, checkpointed"] = timed(lambda: DeltaTable(path).file_uris())
    return found


def add(day: int, number: int) -> AddAction:
    """A file of a day, of which the log keeps what ours keeps."""
    stamp = f"2026-{1 + day // 28 % 12:02}-{1 + day % 28:02}T00:00:00.000Z"
    bounds = {"ts": stamp, "n_events": 1}
    stats = {"numRecords": 1_000_000, "minValues": bounds, "maxValues": bounds, "nullCount": {"ts": 0}}
    name = f"part-{day:05}-{number:05}-0123456789abcdef0123456789abcdef.zstd.parquet"
    return AddAction(name, 40_000_000, {}, 1_700_000_000_000, True, json.dumps(stats))


OPEN = {"spark.driver.extraJavaOptions": "--add-opens=java.management/sun.management=ALL-UNNAMED"}
"""Without it py4j may not call the beans of memory pools."""

PROBES = {"tasks": tasks, "shuffle": shuffle, "log": log}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, nargs="*", default=[10_000, 50_000, 100_000])
    parser.add_argument("--maps", type=int, nargs="*", default=[1_000, 2_500])
    parser.add_argument("--files", type=int, nargs="*", default=[5_000, 20_000])
    parser.add_argument("--memory", default="2g", help="of the driver")
    parser.add_argument("--probe", nargs=2, metavar=("NAME", "COUNT"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.probe:
        settings = {"spark.driver.memory": asked.memory, "spark.sql.shuffle.partitions": "8", **OPEN}
        spark = start_spark("seqloom limits", settings)
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(PROBES[asked.probe[0]](spark, int(asked.probe[1]), Path(folder))))
        return
    for name, counts in (("tasks", asked.tasks), ("shuffle", asked.maps), ("log", asked.files)):
        for count in counts:
            words = [sys.executable, __file__, "--memory", asked.memory, "--probe", name, str(count)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name} {count:,}: failed with {asked.memory}: {done.stderr.strip().splitlines()[-1]}")
                continue
            figures = json.loads(done.stdout.splitlines()[-1])
            print(f"{name} {count:,}: " + ", ".join(f"{k} {v:,.3g}" for k, v in figures.items()), flush=True)


if __name__ == "__main__":
    main()
