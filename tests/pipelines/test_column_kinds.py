"""A typed source's columns from batch to batch: what may change, and what is refused."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import SourceError
from pipelines.ingest import IngestResult
from pipelines.warehouse import Warehouse
from tests.pipelines.ingest_cases import configure, events, run, write

DAY = 86_400
FIRST = 1704067200  # 2024-01-01T00:00:00Z


class Days:
    """One Parquet file after the other into one warehouse."""

    def __init__(self, spark: Any, folder: Path) -> None:
        self.warehouse = Warehouse(spark, str(folder / "wh"))
        self._folder = folder
        self._kinds: dict[str, str] = {}
        self._number = 0

    def take(self, **columns: pa.Array) -> IngestResult:
        """A day's two events; what is published of the kinds goes on to the next day."""
        self._number += 1
        path = self._folder / f"{self._number}.parquet"
        times = [FIRST + self._number * DAY + second for second in (0, 1)]
        whole = {"user": ["u", "v"], "item": ["1", "2"], "category": ["c", "c"], "type": ["view", "buy"]}
        pq.write_table(pa.table(whole | {"time": times} | columns), path)
        config = configure(path, source={"format": "parquet"})
        found = run(self.warehouse, config, f"b{self._number}", column_kinds=self._kinds)
        self._kinds = dict(found.column_kinds)
        return found

    def of(self, column: str) -> list[Any]:
        return [value for (value,) in events(self.warehouse, column)]


@pytest.fixture
def days(spark: Any, tmp_path: Path) -> Days:
    return Days(spark, tmp_path)


def test_numbers_may_become_wider_and_get_gaps(days: Days) -> None:
    """What pandas makes of integers where one is missing."""
    days.take(item=pa.array([7, 8], pa.int32()))
    days.take(item=pa.array([7, 8], pa.int64()))
    days.take(item=pa.array([7, None], pa.float64()))
    assert days.of("item_id") == ["7", "7", "7", "8", "8"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [(pa.array(["007", "008"]), "text"), (pa.array([7, 8]).cast(pa.decimal128(21, 2)), "decimal(21,2)")],
)
def test_another_kind_is_refused_before_anything_is_written(days: Days, values: pa.Array, kind: str) -> None:
    days.take(item=pa.array([7, 8]))
    with pytest.raises(SourceError) as refused:
        days.take(item=values)
    assert f"2.parquet: column item (item_id) is {kind}, but was number in earlier" in str(refused.value)
    assert "--full-refresh" in str(refused.value) and refused.value.exit_status == 2
    assert days.of("item_id") == ["7", "8"]
    assert days.take(item=pa.array([9, 9])).kept == 2, "the next good day goes on"


@pytest.mark.parametrize("empty", [pa.nulls(2), pa.nulls(2, pa.float64()), pa.nulls(2, pa.string())])
def test_an_empty_column_has_any_type(days: Days, empty: pa.Array) -> None:
    """pandas writes a column without a value as floats; the first values that come say what it holds."""
    days.take(category=empty)
    days.take(category=pa.array(["c1", "c2"]))
    days.take(category=empty)
    days.take(category=pa.array(["c1", None]))
    with pytest.raises(SourceError, match=r"column category \(category_id\) is number, but was text"):
        days.take(category=pa.array([1, 2]))


def test_text_formats_say_nothing_of_types(days: Days, tmp_path: Path) -> None:
    """Tomorrow's events may come as CSV, and as Parquet again."""
    days.take(item=pa.array([7, 8]))
    path = write(tmp_path / "a.csv", ["user,item,category,type,time", f"u,7,c,view,{FIRST}"])
    kinds = {"item_id": "number"}
    found = run(days.warehouse, configure(path), "csv", column_kinds=kinds)
    assert (found.kept, dict(found.column_kinds)) == (1, kinds)
