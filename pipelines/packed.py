"""A shuffle of packed columns: rows travel as compressed Arrow blobs, one a partition and chunk of rows.

Spark's own shuffle writes, sorts and reads every value of every row, and turns the result into Arrow once
more on its way to Python. Here a task deals out a chunk of rows by their partition with NumPy, and what Spark
moves is a few thousand binary values. Measured by `make bench`.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame

from pipelines.recency import hashing_to

CHUNK_ROWS: Final = 1_000_000
"""Rows that a task deals out at once: some 40 MB, so that a blob holds thousands of them."""

PACKED: Final = "key int, blob binary"

PartitionOf = Callable[[pa.Table], NDArray[np.int64]]
"""The partition, from 0, of each row of a chunk."""


def exchange(frame: DataFrame, partitions: int, partition_of: PartitionOf) -> DataFrame:
    """The rows of ``frame`` as blobs (``unpacked`` reads them), each in the partition that it belongs to."""
    keys = np.array(hashing_to(frame.sparkSession, partitions), dtype=np.int32)
    packed = frame.mapInArrow(partial(_packed, partition_of=partition_of, keys=keys), PACKED)
    return packed.repartition(partitions, "key").select("blob")


def unpacked(batches: Iterable[pa.RecordBatch]) -> pa.Table | None:
    """All rows of a partition, in no order; None where it has none."""
    tables = [
        pa.ipc.open_stream(blob.as_buffer()).read_all() for batch in batches for blob in batch.column("blob")
    ]
    return pa.concat_tables(tables) if tables else None


def pack(chunk: pa.Table, partition: NDArray[np.int64], partitions: int) -> Iterator[tuple[int, bytes]]:
    """Each partition of a chunk that has rows, and these, in their order, as an Arrow stream (LZ4)."""
    order = np.argsort(partition.astype(np.int16 if partitions < 2**15 else np.int64), kind="stable")
    ends = np.cumsum(np.bincount(partition, minlength=partitions))
    dealt = chunk.take(pa.array(order))
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    for number, end in enumerate(ends.tolist()):
        begin = int(ends[number - 1]) if number else 0
        if begin < end:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, chunk.schema, options=options) as stream:
                stream.write_table(dealt.slice(begin, end - begin))
            yield number, sink.getvalue().to_pybytes()


def _packed(
    batches: Iterable[pa.RecordBatch], partition_of: PartitionOf, keys: NDArray[np.int32]
) -> Iterator[pa.RecordBatch]:
    for chunk in chunks_of(batches):
        numbers, blobs = zip(*pack(chunk, partition_of(chunk), len(keys)), strict=True)
        yield pa.record_batch([pa.array(keys[list(numbers)]), pa.array(blobs, pa.binary())], ["key", "blob"])


def chunks_of(batches: Iterable[pa.RecordBatch], most: int = CHUNK_ROWS) -> Iterator[pa.Table]:
    """The rows again, ``most`` or little more at once."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        if rows >= most:
            yield pa.Table.from_batches(held).combine_chunks()
            held, rows = [], 0
    if rows:
        yield pa.Table.from_batches(held).combine_chunks()
