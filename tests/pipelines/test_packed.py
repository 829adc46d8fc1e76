"""Packed columns arrive whole, where they belong, in the order in which they were dealt out."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipelines.packed import chunks_of, exchange, pack, unpacked

SCHEMA = pa.schema([("user", pa.string()), ("n", pa.int64())])


def chunk(partitions: list[int]) -> pa.Table:
    users = [None if part % 3 == 1 else f"u{part}" for part in partitions]
    return pa.table([pa.array(users, pa.string()), pa.array(range(len(users)), pa.int64())], schema=SCHEMA)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_a_chunk_comes_apart_by_partition_in_its_order(partitions: list[int]) -> None:
    rows = chunk(partitions)
    found = {}
    for number, blob in pack(rows, np.array(partitions), 5):
        table = unpacked([pa.record_batch([pa.array([blob], pa.binary())], ["blob"])])
        assert table is not None and table.schema == SCHEMA
        found[number] = table.to_pylist()
    wanted: dict[int, list[Any]] = {}
    for row, number in zip(rows.to_pylist(), partitions, strict=True):
        wanted.setdefault(number, []).append(row)
    assert found == wanted and list(found) == sorted(wanted)


def test_a_partition_without_rows_is_none() -> None:
    assert unpacked([]) is None


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 8))
def test_chunks_lose_no_row(sizes: list[int], most: int) -> None:
    numbers = iter(range(sum(sizes)))
    batches = [
        pa.record_batch([pa.array([next(numbers) for _ in range(size)], pa.int64())], ["n"]) for size in sizes
    ]
    chunks = list(chunks_of(batches, most))
    assert [n for chunk in chunks for n in chunk.column("n").to_pylist()] == list(range(sum(sizes)))
    assert all(len(chunk) >= most for chunk in chunks[:-1]) and all(len(chunk) for chunk in chunks)


def test_rows_meet_in_their_partition(spark: Any) -> None:
    def fifth(table: pa.Table) -> np.ndarray:
        return table.column("id").to_numpy() % 5

    def counted(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        table = unpacked(batches)
        ids = [] if table is None else table.column("id").to_pylist()
        assert len({number % 5 for number in ids}) <= 1
        yield pa.record_batch([pa.array([len(ids)]), pa.array([sum(ids)])], ["n", "sum"])

    frame = spark.range(0, 103, 1, 3)
    rows = exchange(frame, 5, fifth).mapInArrow(counted, "n long, sum long").collect()
    expected = [sum(range(number, 103, 5)) for number in range(5)]
    assert [row["sum"] for row in rows] == expected and sum(row["n"] for row in rows) == 103
