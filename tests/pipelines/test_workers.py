"""Workers forget what would slow their next task."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile
from zipimport import zipimporter

import pyarrow as pa
import pytest

from pipelines.workers import batches_by_rows, forget_zip_importers, in_workers


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


def test_batches_are_cut_by_rows_for_as_long_as_asked(spark: Any) -> None:
    """Rows of a megabyte and a limit of two, which the session then has as before."""

    def sizes(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.record_batch([pa.array([batch.num_rows])], names=["rows"])

    wide = spark.range(0, 6, 1, 1).selectExpr("repeat('x', 1000000) AS text")

    def cut() -> list[int]:
        return [row.rows for row in in_workers(wide, sizes, "rows long").collect()]

    limit = "spark.sql.execution.arrow.maxBytesPerBatch"
    before = spark.conf.get(limit)
    spark.conf.set(limit, "2000000")
    try:
        assert len(cut()) > 1
        with pytest.raises(ValueError, match="stop"), batches_by_rows(spark):
            assert cut() == [6]
            raise ValueError("stop")
        assert len(cut()) > 1
    finally:
        spark.conf.set(limit, before)


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
