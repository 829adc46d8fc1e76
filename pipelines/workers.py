"""Kernels of ours in Spark's Python workers."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from zipimport import zipimporter

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from pipelines.session_settings import session_settings

Kernel = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]


def in_workers(frame: DataFrame, kernel: Kernel, schema: StructType | str) -> DataFrame:
    """``frame.mapInArrow``, in workers that are quick to begin their next task.

    PySpark has all importers forget what they know before each task, and until Python 3.12 an importer of a
    zip reads the archive's directory again at once. There is one for each package that came out of
    pyspark.zip, whose directory has 1,200 entries: 60 ms of every task.
    """

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        forget_zip_importers()
        yield from kernel(batches)

    return frame.mapInArrow(run, schema)


def batches_by_rows(spark: SparkSession) -> AbstractContextManager[None]:
    """While it lasts, queries cut what they send to workers by the number of rows alone: for narrow rows.

    Else Spark asks every column for its bytes at every row, to keep a batch below 256 MB, and that takes
    longer than to send them (8 M rows of seven columns on two cores: 3.9 s, so 1.6).
    """
    return session_settings(spark, {"spark.sql.execution.arrow.maxBytesPerBatch": str(2**31 - 1)})


def forget_zip_importers() -> None:
    """Drop them from Python's cache: whoever imports from an archive later gets a new one."""
    for place, importer in list(sys.path_importer_cache.items()):
        if isinstance(importer, zipimporter):
            del sys.path_importer_cache[place]
