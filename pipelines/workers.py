"""Kernels of ours in Spark's Python workers."""

import sys
from collections.abc import Callable, Iterable, Iterator
from zipimport import zipimporter

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

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


def forget_zip_importers() -> None:
    """Drop them from Python's cache: whoever imports from an archive later gets a new one."""
    for place, importer in list(sys.path_importer_cache.items()):
        if isinstance(importer, zipimporter):
            del sys.path_importer_cache[place]
