"""How many bytes does an event take in gold, and how many were every strand's fields materialised?

    python benchmarks/layout.py --warehouse demo/warehouse [--rows 2000]

Three layouts of the same rows of the published ``gold/user_sequences``, by one writer (pyarrow, zstd):
- ours: a pool of events a row, and positions of strands in it;
- fat rows: the fields of every strand at a row's end instead of the pool, which serves one question a row;
- fat targets: the fields of every strand of every target, which is what our row serves.
Prints bytes of each and of an event (of its first appearance: a row's targets are its own), and the ratios.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import deltalake
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from features.spec import EVENT_FIELDS, SequenceSpec
from features.strands import RowTags, strands
from pipelines.delta_files import data_files
from pipelines.pointer import require_published

TAGS = {
    "session": "session", "category": "category", "mode": "mode", "theme_session": "theme_session",
    "theme_running": "theme_running",
}  # fmt: skip
GOLD = "gold/user_sequences"
QUESTIONS = 2_000
"""Targets whose strands are built at once."""


def row_groups(root: str, rows: int) -> Iterator[tuple[int, pa.Table]]:
    """Length bucket and rows: of every file its share of ``rows``, evenly spread."""
    pointer = require_published(root)
    folder = f"{root}/{GOLD}"
    files = data_files(deltalake.DeltaTable(folder, version=pointer.versions[GOLD]), folder)
    total = sum(pq.ParquetFile(file).metadata.num_rows for file in files)
    for file in files:
        whole = pq.ParquetFile(file).read()
        step = max(1, total // rows)
        kept = whole.take(pa.array(np.arange(0, len(whole), step)))
        bucket = int(Path(file).parent.name.partition("=")[2])
        yield bucket, kept


def matrix(rows: pa.Table, column: str, width: int) -> np.ndarray:
    return rows.column(column).combine_chunks().flatten().to_numpy().reshape(len(rows), width)


def fat(rows: pa.Table, bucket: int, spec: SequenceSpec, every_target: bool) -> Iterator[pa.Table]:
    """The strands' fields: of each row's end, or of each target."""
    events = {name: matrix(rows, f"events__{name}", bucket) for name in EVENT_FIELDS}
    tags = RowTags(**{ours: events[theirs] for ours, theirs in TAGS.items()})
    if every_target:
        read = matrix(rows, "targets__read_pos", spec.shape("targets__read_pos", bucket)[0])
        known = matrix(rows, "targets__pos", read.shape[1]) >= 0
        row, place = np.nonzero(known)
        end = read[row, place].astype(np.int64) + 1
    else:
        row, end = np.arange(len(rows)), np.full(len(rows), bucket)
    for start in range(0, len(row), QUESTIONS):
        own, ends = row[start : start + QUESTIONS], end[start : start + QUESTIONS]
        columns: dict[str, pa.Array] = {"row": pa.array(own)}
        for family, found in strands(tags, own, ends, spec).items():
            pos = found.pos.reshape(len(own), -1)
            width = pos.shape[1]
            offsets = pa.array(np.arange(len(own) + 1, dtype=np.int32) * width)
            for name, values in events.items():
                taken = np.where(pos >= 0, values[own[:, None], pos], 0).astype(values.dtype)
                columns[f"{family}__{name}"] = pa.ListArray.from_arrays(offsets, pa.array(taken.ravel()))
        yield pa.table(columns)


def written(tables: Iterator[pa.Table], path: Path) -> int:
    """Bytes of one Parquet file of them."""
    writer = None
    for table in tables:
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    if writer is None:
        return 0
    writer.close()
    return path.stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--warehouse", required=True)
    parser.add_argument("--rows", type=int, default=2_000, help="of the table's rows, evenly spread")
    asked = parser.parse_args()
    spec = SequenceSpec.from_json(require_published(asked.warehouse).spec)
    sizes = {"ours": 0, "fat rows": 0, "fat targets": 0}
    rows = targets = 0
    with tempfile.TemporaryDirectory() as scratch:
        for number, (bucket, kept) in enumerate(row_groups(asked.warehouse, asked.rows)):
            rows += len(kept)
            width = spec.shape("targets__pos", bucket)[0]
            targets += int((matrix(kept, "targets__pos", width) >= 0).sum())
            layouts = {
                "ours": iter([kept]),
                "fat rows": fat(kept, bucket, spec, every_target=False),
                "fat targets": fat(kept, bucket, spec, every_target=True),
            }
            for name, tables in layouts.items():
                sizes[name] += written(tables, Path(scratch) / f"{name}-{number}.parquet")
    print(f"{rows:,} rows with {targets:,} targets")
    for name, size in sizes.items():
        each = size / max(targets, 1)
        ratio = sizes["ours"] / max(size, 1)
        print(f"{name}: {size:,} bytes, {each:,.1f} a target; ours is {ratio:.3f} of it")


if __name__ == "__main__":
    main()
