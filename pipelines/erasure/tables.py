"""Rows of erased users, out of every table that has a ``user_id``, and payloads that name them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from pipelines.erasure.derived import USER
from pipelines.erasure.needles import Mode, Needles
from pipelines.ingest.quarantine import users_of_lines
from pipelines.ingest.reasons import ERASED
from pipelines.ingest.suppression import Batches, payload_texts, without_payload
from pipelines.ingest.write import REJECTED
from pipelines.old_versions import delta_tables, live_files
from pipelines.warehouse import STATISTICS, Warehouse, properties
from pipelines.workers import in_workers

OWN = "is_own"
"""Last column of refused rows on their way: whether a row names a user."""


def user_tables(folder: Path) -> list[str]:
    """Names of the tables that have a ``user_id``, but those of ``ops``."""
    return [
        name
        for name in delta_tables(folder)
        if not name.startswith("ops/")
        and USER in {column.name for column in DeltaTable(str(folder / name)).schema().fields}
    ]


def rows_of_users(folder: Path, table: str, users: frozenset[str]) -> int:
    """How many rows of the users the newest version of a table has."""
    wanted = pa.array(sorted(users), pa.string())
    count = 0
    for file in live_files(folder / table):
        column = pq.ParquetFile(file).read(columns=[USER]).column(USER)
        count += pc.sum(pc.is_in(column, value_set=wanted)).as_py() or 0
    return count


def delete_users(warehouse: Warehouse, folder: Path, table: str, users: frozenset[str]) -> int:
    """Delete the users' rows from a table; how many these were. Other rows stay as they are.

    The ids reach Spark as a frame, so that no predicate and no commit holds one. A table whose log kept
    statistics of ids is written anew, without.
    """
    count = rows_of_users(folder, table, users)
    keys = frame_of(warehouse, users)
    if has_statistics_of_ids(folder / table):
        rewrite(warehouse, folder, table, warehouse.read(table).join(F.broadcast(keys), USER, "left_anti"))
    elif count:
        warehouse.delete(table, F.broadcast(keys), f"t.{USER} = k.{USER}")
    return count


def strip_quarantine(warehouse: Warehouse, folder: Path, users: frozenset[str], needles: Needles,
                     user_column: str | None) -> int:  # fmt: skip
    """Refused rows that name a user keep the reason ``erased`` only; how many these were.

    A row names one where its payload has an id as a token, or as its user under ``user_column``, the source's
    name for it.
    """
    if not warehouse.exists(REJECTED):
        return 0
    rejected = warehouse.read(REJECTED)
    owned = None if user_column is None else users_of_lines(rejected, user_column)
    marked = rejected.withColumn(OWN, F.lit(False))
    if owned is not None:
        marked = _mark(rejected, owned.join(F.broadcast(frame_of(warehouse, users)), USER, "left_semi"))
    stripped = in_workers(marked, _stripper(needles), marked.schema).persist(StorageLevel.DISK_ONLY)
    try:
        count = stripped.where(F.col(OWN)).count()
        if count or has_statistics_of_ids(folder / REJECTED):
            rewrite(warehouse, folder, REJECTED, stripped.drop(OWN))
    finally:
        stripped.unpersist()
    return count


def _mark(rejected: DataFrame, lines: DataFrame) -> DataFrame:
    """Refused rows with ``is_own``: whether they are among the lines."""
    own = lines.select(F.col("raw").alias("own_raw"), F.col("layout").alias("own_layout")).distinct()
    same = (F.col("raw") == F.col("own_raw")) & F.col("layout").eqNullSafe(F.col("own_layout"))
    found = F.col("own_raw").isNotNull().alias(OWN)
    return rejected.join(own, same, "left").select(*rejected.columns, found)


def frame_of(warehouse: Warehouse, users: frozenset[str]) -> DataFrame:
    """The users as a frame with ``user_id``."""
    return warehouse.spark.createDataFrame([(user,) for user in sorted(users)], f"{USER} string")


def has_statistics_of_ids(table: Path) -> bool:
    """Whether the table's log may keep statistics of ids or payloads."""
    delta = DeltaTable(str(table))
    columns = {column.name for column in delta.schema().fields}
    kept: str | None = delta.metadata().configuration.get(STATISTICS)
    allowed = set(properties(columns)[STATISTICS].split(","))
    return kept is None or not set(kept.split(",")) <= allowed | {""}


def rewrite(warehouse: Warehouse, folder: Path, table: str, rows: DataFrame) -> None:
    """Put rows in place of all, under the properties that a new table has."""
    delta = DeltaTable(str(folder / table))
    partitions = tuple(delta.metadata().partition_columns)
    if has_statistics_of_ids(folder / table):
        columns = [column.name for column in delta.schema().fields]
        warehouse.set_properties(table, properties(columns, partitions))
    warehouse.overwrite(rows, table, partition_by=partitions)


def _stripper(needles: Needles) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """What ``mapInArrow`` runs: refused rows with ``is_own`` in; the same without payloads of users out."""

    def strip(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            raws = batch.column("raw").to_pylist()
            owns = batch.column(OWN).to_pylist()
            named = [own or names_one(raw, needles) for raw, own in zip(raws, owns, strict=True)]
            kept = [name for name in batch.schema.names if name != OWN]
            clean = without_payload(batch.select(kept), named, ERASED)
            yield pa.record_batch([*clean.columns, pa.array(named)], names=[*kept, OWN])

    return strip


def names_one(raw: str | None, needles: Needles) -> bool:
    """Whether a payload holds one of the ids."""
    return raw is not None and any(needles.find(text, Mode.PAYLOAD) for text in payload_texts(raw))
