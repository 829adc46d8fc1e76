"""Raw Parquet to whole users in Spark tasks without a row on the way: read, dealt out and moved as Arrow.

Spark's own scan and shuffle write, sort and read every value of every row, and turn the result into Arrow
once more on its way to Python. Here a task reads a file, deals its rows out by partition with NumPy, and what
Spark moves is a few thousand compressed blobs.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession

from pipelines.placing import hashing_to
from pipelines.workers import in_workers

EVENTS_PER_PARTITION = 2_500_000
TYPES = {"pv": 1, "cart": 2, "fav": 3, "buy": 4}
NAMES = {"user_id": "user_id", "ts": "ts", "item_id": "item", "category_id": "category", "event_type": "type"}


def whole_users(spark: SparkSession, source: Path, columns: list[str]) -> DataFrame:
    """Blobs with the events of a partition's users, in no order (``unpacked`` reads them)."""
    files = [str(file) for file in sorted(source.glob("*.parquet"))]
    events = sum(pq.read_metadata(file).num_rows for file in files)
    partitions = max(2, -(-events // EVENTS_PER_PARTITION))
    keys = np.array(hashing_to(partitions), dtype=np.int32)
    places = spark.range(len(files), numPartitions=len(files))
    pack = partial(_packed, files=files, columns=columns, keys=keys)
    moved = in_workers(places, pack, "key int, blob binary")
    return moved.repartition(partitions, "key").select("blob")


def unpacked(batches: Iterable[pa.RecordBatch]) -> dict[str, NDArray[np.int64]] | None:
    """All events of a partition; None where it has none."""
    tables = [
        pa.ipc.open_stream(blob.as_buffer()).read_all() for batch in batches for blob in batch.column("blob")
    ]
    if not tables:
        return None
    table = pa.concat_tables(tables)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _packed(
    batches: Iterable[pa.RecordBatch], files: list[str], columns: list[str], keys: NDArray[np.int32]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for number in batch.column("id").to_pylist():
            events = _read(files[number], columns)
            partitions, blobs = zip(*_dealt(events, len(keys)), strict=True)
            own = pa.array(keys[list(partitions)])
            yield pa.record_batch([own, pa.array(blobs, pa.binary())], ["key", "blob"])


def _read(file: str, columns: list[str]) -> pa.Table:
    table = pq.read_table(file, columns=columns, read_dictionary=["event_type"], use_threads=False)
    values = {NAMES[name]: table.column(name) for name in columns}
    if "type" in values:
        kinds = values["type"].unify_dictionaries().combine_chunks()
        codes = np.array([TYPES[kind] for kind in kinds.dictionary.to_pylist()], dtype=np.int8)
        values["type"] = pa.array(codes[kinds.indices.to_numpy()])
    if "item" in values:
        values["item"] = values["item"].cast(pa.int32())
    values["ts"] = values["ts"].cast(pa.int64())
    return pa.table(values).combine_chunks()


def _dealt(events: pa.Table, partitions: int) -> Iterator[tuple[int, bytes]]:
    """Each partition that has events, and these as an Arrow stream (LZ4)."""
    spread = events.column("user_id").to_numpy().astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    partition = ((spread >> np.uint64(33)) % np.uint64(partitions)).astype(np.int16)
    ends = np.cumsum(np.bincount(partition, minlength=partitions))
    dealt = events.take(pa.array(np.argsort(partition, kind="stable")))
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    for number, end in enumerate(ends.tolist()):
        begin = int(ends[number - 1]) if number else 0
        if begin < end:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, events.schema, options=options) as stream:
                stream.write_table(dealt.slice(begin, end - begin))
            yield number, sink.getvalue().to_pybytes()
