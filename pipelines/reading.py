"""Published tables as Arrow, without Spark: for a look, for reports and for small readers."""

from collections.abc import Sequence

import deltalake
import pyarrow as pa

from pipelines.delta_files import data_files, dataset
from pipelines.errors import WarehouseError
from pipelines.pointer import require_published


def read_published_table(root: str, table: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of ``layer/name`` in the published version of the warehouse at ``root``.

    Raises WarehouseError where nothing is published, or not this table.
    """
    pointer = require_published(root)
    if table not in pointer.versions:
        known = ", ".join(sorted(pointer.versions))
        raise WarehouseError(f"{root}: table {table} is not published; published are: {known}")
    return read_table(root, table, pointer.versions[table], columns)


def read_table(
    root: str, table: str, version: int | None = None, columns: Sequence[str] | None = None
) -> pa.Table:
    """The rows of ``layer/name`` at a version, by default its newest: what scoring writes has no other.

    Reads the version's own Parquet files: our tables have neither deletion vectors nor column mapping, and
    delta-rs cannot hand a partitioned table to pyarrow 14.
    """
    folder = f"{root}/{table}"
    files = data_files(deltalake.DeltaTable(folder, version=version), folder)
    return dataset(files, folder).to_table(columns=columns)
