"""What does a day cost beside the full build, and how much does it rewrite?

    python benchmarks/increment.py --events 20000000 --out increment
    python benchmarks/increment.py --events 200000 --out increment --days 2
    python benchmarks/increment.py --events 20000000 --out increment --share 0.5 --days 3  # above 1 M a day

Builds generated events of thirty days but for the last one, then days of which each touches a share of the
users: drawn from those who were active in the week before, from all, and from the active ones with a tenth
who were there on the day before and whose events come two days late, in turn. A drawn user gets the events
that some user has on the last day, so that sessions are like all others. At the end the last day comes once
more, of which nothing is new. Every run is a process of the job, measured by benchmarks/engines/measure.py.
Prints seconds beyond Spark's start, as a share of the full build's, processor time and peak memory of all
processes, and for each table the bytes of the files that the day wrote, beside those of the rows that it put
in (their number × the table's bytes per row) and as a share of the table.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import deltalake
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engines.job import JOB
from benchmarks.engines.measure import GIB, Cost, answer_of, measure
from pipelines.ingest import BROADCAST_IDS
from pipelines.synthetic.generate import generate
from pipelines.synthetic.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
TABLES = (
    "bronze/events", "silver/sessions", "silver/users", "silver/user_state", "gold/user_sequences",
)  # fmt: skip
START = "start Spark"
DAYS = 30
DAY = timedelta(days=1)
DAY_US = DAY // timedelta(microseconds=1)
SOURCE_TIME = "%Y-%m-%dT%H:%M:%SZ"
"""How the generator writes times; a column of another type would be refused."""


@dataclass(frozen=True)
class Done:
    """A run: what it took, and its summary."""

    cost: Cost
    summary: dict[str, Any]

    @property
    def seconds(self) -> float:
        """Beyond Spark's start."""
        return float(sum(took for stage, took in self.summary["seconds"].items() if stage != START))

    def __str__(self) -> str:
        kept, rows = self.summary["events_kept"], self.summary["rows_written"]
        took = f"{self.cost.cpu_seconds:.0f} s of CPU, {self.cost.peak_bytes / GIB:.1f} GiB at most"
        return f"{kept:,} events kept, {rows:,} gold rows written; {self.cost.seconds:.1f} s in all, {took}"


@dataclass(frozen=True)
class Site:
    """Generated events and the warehouse that runs make of them."""

    out: Path
    settings: Settings

    @property
    def warehouse(self) -> Path:
        return self.out / "warehouse"

    @property
    def last_day(self) -> pa.Scalar:
        return pa.scalar(self.settings.start + (DAYS - 1) * DAY, pa.timestamp("us", tz="UTC"))

    def generate(self) -> None:
        """Events before the last day in ``before``, the rest in ``day.parquet``."""
        if (self.out / "day.parquet").exists():
            return
        generate(self.settings, self.out / "generated", workers=2, say=tell)
        events = ds.dataset(self.out / "generated" / "events", format="parquet")
        time = pc.field("ts").cast(self.last_day.type)
        ds.write_dataset(
            events.scanner(filter=time < self.last_day), self.out / "before", format="parquet",
            existing_data_behavior="delete_matching",
        )  # fmt: skip
        pq.write_table(events.to_table(filter=time >= self.last_day), self.out / "day.parquet")

    def run(self, source: Path) -> Done:
        """Run the job."""
        window_end = f"source.window.end={(self.settings.start + 365 * DAY).isoformat()}"
        words = ["--config", str(ROOT / "conf" / "demo.toml")]
        words += ["--set", "source.format=parquet", "--set", window_end]
        words += ["--source", str(source), "--warehouse", str(self.warehouse)]
        return Done(measure([sys.executable, str(JOB), *words], self.warehouse), answer_of(self.warehouse))

    def day(self, number: int, users: pa.Array, late: float, random: np.random.Generator) -> Path:
        """A folder with one file: each of ``users`` does what another one did on the last day.

        The events of a share ``late`` of them are two days older.
        """
        events = pq.read_table(self.out / "day.parquet")
        models = events.column("user_id").combine_chunks().dictionary_encode()
        order = np.argsort(models.indices, kind="stable")
        starts = np.searchsorted(models.indices.to_numpy()[order], np.arange(len(models.dictionary) + 1))
        chosen = random.integers(0, len(models.dictionary), len(users))
        rows = np.concatenate([order[starts[at] : starts[at + 1]] for at in chosen])
        owner = np.repeat(np.arange(len(users)), starts[chosen + 1] - starts[chosen])
        ids = pc.binary_join_element_wise(f"day{number}", pa.array(np.arange(len(rows)).astype(str)), "-")
        shift = np.where(owner < late * len(users), (number - 2) * DAY_US, number * DAY_US)
        taken = events.take(pa.array(rows))
        columns = {"event_id": ids, "user_id": users.take(pa.array(owner))}
        moved = pa.array(shift).cast(pa.duration("us"))
        times = pc.add(taken.column("ts").cast(self.last_day.type), moved)
        columns["ts"] = pc.strftime(times.cast(pa.timestamp("s", tz="UTC")), SOURCE_TIME)  # as in the source
        for name, values in columns.items():
            taken = taken.set_column(taken.schema.get_field_index(name), name, values)
        folder = self.out / f"day-{number}"
        folder.mkdir(exist_ok=True)
        pq.write_table(taken, folder / "events.parquet")
        return folder

    def users(self) -> tuple[pa.Array, pa.Array]:
        """Those who were active in the week before the last day, and all."""
        week = pc.field("ts").cast(self.last_day.type) >= pc.subtract(self.last_day, pa.scalar(7 * DAY))
        before = ds.dataset(self.out / "before", format="parquet")
        return tuple(  # type: ignore[return-value]
            pc.unique(before.to_table(columns=["user_id"], filter=rows).column("user_id"))
            for rows in (week, None)
        )


def written(before: dict[str, int], warehouse: Path) -> Iterator[tuple[str, int, int, int]]:
    """Of each table: bytes of new files, bytes of the rows that were put in, and all its bytes."""
    for name in TABLES:
        table = deltalake.DeltaTable(f"{warehouse}/{name}")
        old = deltalake.DeltaTable(f"{warehouse}/{name}", version=before[name])
        sizes = table.get_add_actions(flatten=True)
        known = set(old.get_add_actions(flatten=True).column("path").to_pylist())
        columns = (sizes.column(c).to_pylist() for c in ("path", "size_bytes", "num_records"))
        files = list(zip(*columns, strict=True))
        per_row = sum(size for _, size, _ in files) / sum(rows for *_, rows in files)
        commits = table.history(table.version() - before[name])
        appended = sum(
            int(commit["operationMetrics"].get("numOutputRows", 0))
            for commit in commits
            if commit["operation"] == "WRITE"
        )
        new, whole = (sum(size for path, size, _ in files if path not in old) for old in (known, set()))
        yield name, new, round(appended * per_row), whole


def show_day(done: Done, before: dict[str, int], warehouse: Path) -> None:
    """How a day's ids were looked up, and what it wrote."""
    shuffled = done.summary["events_in"] > BROADCAST_IDS
    print(f"  its ids were {'shuffled with those of all events' if shuffled else 'sent to every core'}")
    for name, files, rows, whole in written(before, warehouse):
        sizes = f"{files / 1e6:8.1f} MB written, {rows / 1e6:8.2f} MB of rows"
        shares = f"{files / max(rows, 1):6.1f} x, {files / max(whole, 1):.1%} of the table"
        print(f"  {name:22} {sizes}, {shares}")


def show_days(full: Done, runs: dict[str, list[Done]], idle: Done, history: int) -> None:
    """Medians of each kind beside the full build and a run of ``history`` events with nothing new."""

    def each(cpu_seconds: float) -> str:
        return f"{cpu_seconds / history * 1e6:.2f} µs an event of the history"

    print(f"\nthe last day once more, nothing new: {idle.seconds:.1f} s; {idle}")
    print(f"  {each(idle.cost.cpu_seconds)}")
    for kind, days in runs.items():
        if days:
            middle = median(done.seconds for done in days)
            share = f"{middle / full.seconds:.1%} of the full build"
            more = median(done.cost.cpu_seconds for done in days) - idle.cost.cpu_seconds
            print(f"\n{kind}: median {middle:.1f} s of {len(days)} days, {share}")
            print(f"  {more:.0f} s of CPU more than with nothing new, {each(more)}")


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--out", type=Path, required=True, help="folder for events and warehouse")
    parser.add_argument(
        "--share",
        type=float,
        default=0.01,
        help="of the users that a day touches, as far as enough were active",
    )
    parser.add_argument("--days", type=int, default=9, help="days to run, of the three kinds in turn")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    site = Site(
        asked.out,
        Settings(events=asked.events, days=DAYS, format="parquet", duplicates=0.0, malformed=0.0, late=0.0),
    )
    site.generate()
    full = site.run(site.out / "before")
    print(f"full build: {full.seconds:.1f} s beyond Spark's start; {full}")
    random = np.random.default_rng(1)
    recent, everyone = site.users()
    kinds = {
        "active in the last week": (recent, 0.0),
        "any": (everyone, 0.0),
        "active, a tenth of them late": (recent, 0.1),
    }
    runs: dict[str, list[Done]] = {kind: [] for kind in kinds}
    history, folder = full.summary["events_kept"], site.out / "before"
    count = round(asked.share * len(everyone))
    before_them = recent[:0]
    for number in range(asked.days):
        kind = list(kinds)[number % len(kinds)]
        pool, late = kinds[kind]
        users = pool.take(pa.array(random.choice(len(pool), min(count, len(pool)), replace=False)))
        if late:
            users = pa.concat_arrays([before_them[: round(late * count)], users]).unique()[:count]
        before_them = users
        before = {name: deltalake.DeltaTable(f"{site.warehouse}/{name}").version() for name in TABLES}
        folder = site.day(number, users, late, random)
        done = site.run(folder)
        runs[kind].append(done)
        history += done.summary["events_kept"]
        print(
            f"\nday {number}, {len(users):,} of {len(everyone):,} users, {kind}: {done.seconds:.1f} s; {done}"
        )
        show_day(done, before, site.warehouse)
    if asked.days:
        show_days(full, runs, site.run(folder), history)


if __name__ == "__main__":
    main()
