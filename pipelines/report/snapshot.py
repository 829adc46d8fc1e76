"""Published tables as something to ask questions of, without Spark and in bounded memory.

SQL is answered by DataFusion, which delta-rs brings: it streams the version's Parquet files, sorts and groups
within ``MEMORY`` and spills to disk beyond. Answers are aggregates, so none grows with users or events.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from arro3.core import DataType, Table
from deltalake import DeltaTable, QueryBuilder

from pipelines.delta_files import data_files

MEMORY: Final = "1G"
BATCH_PLACES: Final = 2_000_000
"""Most places of arrays that a batch of ``batches`` holds."""


@dataclass(frozen=True)
class Snapshot:
    """Tables of a warehouse at given versions; ``query`` names them by their last word (``sessions``)."""

    root: str
    versions: dict[str, int]  # "layer/name" -> version

    def has(self, *tables: str) -> bool:
        """Whether all of these tables (``layer/name``) are in it."""
        return all(table in self.versions for table in tables)

    def query(self, sql: str) -> list[dict[str, Any]]:
        """The rows of an SQL question."""
        rows: list[dict[str, Any]] = to_arrow(self._builder.execute(sql).read_all()).to_pylist()
        return rows

    def one(self, sql: str) -> dict[str, Any]:
        """The only row of an SQL question."""
        (row,) = self.query(sql)
        return row

    def files(self, table: str) -> list[str]:
        """Paths of the Parquet files of a table's version."""
        return sorted(data_files(self._open(table), f"{self.root}/{table}"))

    def size(self, table: str) -> tuple[int, int, int]:
        """Files, bytes and rows of a table's version, from its log alone."""
        actions = self._open(table).get_add_actions(flatten=True)
        size, rows = (sum(actions.column(name).to_pylist()) for name in ("size_bytes", "num_records"))
        return actions.num_rows, size, rows

    def batches(self, table: str, columns: Sequence[str], width: int) -> Iterator[pa.RecordBatch]:
        """The columns of a table, ``BATCH_PLACES // width`` rows at a time."""
        for path in self.files(table):
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(max(1, BATCH_PLACES // width), columns=list(columns))

    def _open(self, table: str) -> DeltaTable:
        return DeltaTable(f"{self.root}/{table}", version=self.versions[table])

    @cached_property
    def _builder(self) -> QueryBuilder:
        builder = QueryBuilder()
        builder.execute(f"SET datafusion.runtime.memory_limit = '{MEMORY}'").read_all()
        for table in self.versions:
            builder = builder.register(table.split("/")[1], self._open(table))
        return builder


def to_arrow(found: Table) -> pa.Table:
    """DataFusion's answer for pyarrow 14, which knows no string views."""
    columns = [_plain(found.column(place)) for place in range(found.num_columns)]
    return pa.table(Table.from_arrays(columns, names=found.column_names))


def quoted(text: str) -> str:
    """A text as an SQL literal.

    >>> quoted("O'Brien")
    "'O''Brien'"
    """
    return "'" + text.replace("'", "''") + "'"


def _plain(column: Any) -> Any:
    return column.cast(DataType.string()) if column.type == DataType.string_view() else column
