"""A hash of what an engine wrote, whatever the order of rows and files: equal results have equal hashes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

LISTS = ("session", "item", "category", "type", "ts")
MIX = np.uint64(0x9E3779B97F4A7C15)


def mix(values: np.ndarray, salt: int) -> np.ndarray:
    """Spread 64-bit values (splitmix64's step)."""
    x = (values.astype(np.uint64) + np.uint64(salt)) * MIX
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def content(out: Path) -> tuple[int, int, str]:
    """Users, listed events and the sum of hashes of (user, place in the list, values)."""
    users, events, total = 0, 0, np.uint64(0)
    for file in sorted(out.rglob("*.parquet")):
        if "_delta_log" in file.parts:
            continue
        for batch in pq.ParquetFile(file).iter_batches(20_000, columns=["user_id", "n_events", *LISTS]):
            table = pa.Table.from_batches([batch]).combine_chunks()
            user = table.column("user_id").to_numpy()
            lengths = np.diff(_offsets(table, LISTS[0]))
            owner = np.repeat(user, lengths)
            place = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            row = mix(owner, 1) ^ mix(place, 2)
            for number, name in enumerate(LISTS):
                row = row * np.uint64(31) + mix(_values(table, name).astype(np.int64), 3 + number)
            counts = mix(user, 11) * mix(table.column("n_events").to_numpy().astype(np.int64), 12)
            with np.errstate(over="ignore"):
                total = total + mix(row, 13).sum(dtype=np.uint64) + counts.sum(dtype=np.uint64)
            users, events = users + len(user), events + len(owner)
    return users, events, f"{int(total):016x}"


def sessions(out: Path) -> tuple[int, int, str]:
    """Sessions, their events and the sum of hashes of (user, start, events)."""
    table = pa.concat_tables(
        pq.read_table(file, columns=["user_id", "start", "n_events"], partitioning=None)
        for file in sorted(out.rglob("*.parquet"))
    )
    columns = [table.column(name).to_numpy().astype(np.int64) for name in table.column_names]
    total = (mix(columns[0], 1) ^ mix(columns[1], 2) ^ mix(columns[2], 3)) * MIX
    return len(table), int(columns[2].sum()), f"{int(mix(total, 4).sum(dtype=np.uint64)):016x}"


def rows_hash(columns: Mapping[str, np.ndarray]) -> int:
    """Of a loader's rows, whatever their order: the sum of hashes of each row's arrays, all of them."""
    total = np.zeros(len(next(iter(columns.values()))), np.uint64)
    for number, name in enumerate(sorted(columns)):
        values = columns[name].astype(np.int64)  # (rows, width)
        placed = mix(values, 1) ^ mix(np.arange(values.shape[1]), 2)
        total = mix(total ^ mix(placed, 3).sum(axis=1, dtype=np.uint64), 4 + number)
    return int(total.sum(dtype=np.uint64))


def _chunk(table: pa.Table, name: str) -> pa.Array:
    chunks = table.column(name).chunks
    return pa.concat_arrays(chunks) if len(chunks) != 1 else chunks[0]


def _offsets(table: pa.Table, name: str) -> np.ndarray:
    return _chunk(table, name).offsets.to_numpy()


def _values(table: pa.Table, name: str) -> np.ndarray:
    return _chunk(table, name).flatten().to_numpy(zero_copy_only=False)
