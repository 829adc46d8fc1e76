"""What does a day cost beside the full build, and how much does it rewrite?

    python benchmarks/increment.py --events 20000000 --out increment
    python benchmarks/increment.py --events 200000 --out increment --days 2

Builds generated events of thirty days but for the last one, then days of which each touches a share of the
users: drawn from those who were active in the week before, from all, and from the active ones with a tenth
who were there on the day before and whose events come two days late, in turn. A drawn user gets the events
that some user has on the last day, so that sessions are like all others. Every run is a process of the job.
Prints seconds beyond Spark's start, as a share of the full build's, and for each table the bytes of the files
that the day wrote, beside those of the rows that it put in (their number × the table's bytes per row).
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median

import deltalake
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

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

    def run(self, source: Path) -> tuple[float, str]:
        """Seconds of a run beyond Spark's start, and what it said it did."""
        window_end = f"source.window.end={(self.settings.start + 365 * DAY).isoformat()}"
        words = ["--config", str(ROOT / "conf" / "demo.toml")]
        words += ["--set", "source.format=parquet", "--set", window_end]
        done = subprocess.run(
            [sys.executable, str(ROOT / "jobs" / "build_sequences.py"), *words, "--source", str(source),
             "--warehouse", str(self.warehouse)],
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        summary = json.loads(done.stdout.splitlines()[-1])
        seconds = sum(took for stage, took in summary["seconds"].items() if stage != START)
        return (
            seconds,
            f"{summary['events_kept']:,} events kept, {summary['rows_written']:,} gold rows written",
        )

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
        columns["ts"] = pc.add(taken.column("ts").cast(self.last_day.type), moved)
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


def written(before: dict[str, int], warehouse: Path) -> Iterator[tuple[str, int, int]]:
    """Of each table: bytes of new files, and bytes of the rows that were put in."""
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
        yield name, sum(size for path, size, _ in files if path not in known), round(appended * per_row)


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--out", type=Path, required=True, help="folder for events and warehouse")
    parser.add_argument("--share", type=float, default=0.01, help="of the users that a day touches")
    parser.add_argument("--days", type=int, default=9, help="days to run, of the three kinds in turn")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    site = Site(
        asked.out,
        Settings(events=asked.events, days=DAYS, format="parquet", duplicates=0.0, malformed=0.0, late=0.0),
    )
    site.generate()
    full, did = site.run(site.out / "before")
    print(f"full build: {full:.1f} s beyond Spark's start; {did}")
    random = np.random.default_rng(1)
    recent, everyone = site.users()
    kinds = {
        "active in the last week": (recent, 0.0),
        "any": (everyone, 0.0),
        "active, a tenth of them late": (recent, 0.1),
    }
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    count = round(asked.share * len(everyone))
    before_them = recent[:0]
    for number in range(asked.days):
        kind = list(kinds)[number % len(kinds)]
        pool, late = kinds[kind]
        users = pool.take(pa.array(random.choice(len(pool), count, replace=False)))
        if late:
            users = pa.concat_arrays([before_them[: round(late * count)], users]).unique()[:count]
        before_them = users
        before = {name: deltalake.DeltaTable(f"{site.warehouse}/{name}").version() for name in TABLES}
        took, did = site.run(site.day(number, users, late, random))
        seconds[kind].append(took)
        print(f"\nday {number}, {count:,} of {len(everyone):,} users, {kind}: {took:.1f} s; {did}")
        for name, files, rows in written(before, site.warehouse):
            sizes = f"{files / 1e6:8.1f} MB written, {rows / 1e6:8.2f} MB of rows"
            print(f"  {name:22} {sizes}, {files / max(rows, 1):6.1f} x")
    for kind, took in seconds.items():
        if took:
            middle = median(took)
            print(
                f"\n{kind}: median {middle:.1f} s of {len(took)} days, {middle / full:.1%} of the full build"
            )


if __name__ == "__main__":
    main()
