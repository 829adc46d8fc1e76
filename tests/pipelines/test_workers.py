"""Workers forget what would slow their next task."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile
from zipimport import zipimporter

import pyarrow as pa
import pytest

from pipelines.workers import forget_zip_importers, in_workers


def zips() -> list[str]:
    return [place for place, importer in sys.path_importer_cache.items() if isinstance(importer, zipimporter)]


def test_no_importer_of_a_zip_is_left_when_a_kernel_runs(spark: Any) -> None:
    """PySpark itself comes out of one, in each worker."""

    def count(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            yield pa.record_batch([pa.array([len(zips())])], names=["zips"])

    def before(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyspark.worker

        archive = str(pyspark.worker.__file__).partition(".zip")[0] + ".zip"
        sys.path_importer_cache[archive] = zipimporter(archive)
        yield from count(batches)

    ids = spark.range(0, 2, 1, 2)
    assert all(row.zips for row in ids.mapInArrow(before, "zips long").collect())
    assert [row.zips for row in in_workers(ids, count, "zips long").collect()] == [0, 0]


def test_what_lies_in_a_zip_is_found_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "code.zip"
    with ZipFile(archive, "w") as file:
        file.writestr("zipped_one.py", "VALUE = 1")
        file.writestr("zipped_two.py", "VALUE = 2")
    monkeypatch.syspath_prepend(str(archive))
    import zipped_one  # type: ignore[import-not-found]

    assert str(archive) in zips()
    forget_zip_importers()
    assert str(archive) not in zips()
    import zipped_two  # type: ignore[import-not-found]

    assert (zipped_one.VALUE, zipped_two.VALUE) == (1, 2)
