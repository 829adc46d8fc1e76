"""Where tables lie and how they are read and written: the one place that names paths."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import deltalake
import pyarrow as pa
from delta.tables import DeltaTable
from deltalake import CommitProperties, write_deltalake
from pyspark.sql import DataFrame, SparkSession

from pipelines.errors import WarehouseError
from pipelines.session_settings import session_settings

_USER_METADATA: Final = "spark.databricks.delta.commitInfo.userMetadata"

LAYERS = ("bronze", "silver", "gold", "scores", "embeddings", "ops")

STATISTICS: Final = "delta.dataSkippingStatsColumns"
"""Property that says of which columns Delta's log keeps the smallest and largest value in each file."""

SKIPPING: Final = frozenset(
    (
        "ts", "date", "batch_id", "ingested_at", "start_ts", "end_ts", "first_ts", "last_ts", "ordinal",
        "chunk", "length", "index", "theme_id", "as_of", "day", "train_end", "n_events",
    )
)  # fmt: skip
"""The columns for which it does; never ids of users or payloads: what is erased must not stand in a log."""

LOG_RETENTION: Final = {"delta.logRetentionDuration": "interval 36500 days"}
"""Delta drops log entries after 30 days by itself, and with them versions that models name;
``jobs/maintain_tables.py`` knows which are needed."""


@dataclass(frozen=True)
class Warehouse:
    """Delta tables under one root; ``run_id`` is stamped into every commit."""

    spark: SparkSession
    root: str
    run_id: str = ""

    def path(self, table: str) -> str:
        """Folder of a table named ``layer/name``."""
        layer, _, name = table.partition("/")
        if layer not in LAYERS or not name:
            raise ValueError(f"{table!r} is not layer/name")
        return f"{self.root}/{layer}/{name}"

    def exists(self, table: str) -> bool:
        """Whether the table has a first commit."""
        return bool(deltalake.DeltaTable.is_deltatable(self.path(table)))

    def read(self, table: str, version: int | None = None) -> DataFrame:
        """The table's rows, at a version or at its newest."""
        reader = self.spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        return reader.load(self.path(table))

    def append(self, frame: DataFrame, table: str, partition_by: tuple[str, ...] = ()) -> int:
        """Append rows; the table's version afterwards."""
        return self._write(frame, table, "append", partition_by)

    def overwrite(self, frame: DataFrame, table: str, partition_by: tuple[str, ...] = ()) -> int:
        """Replace all rows, and the schema where it changed; the version afterwards."""
        return self._write(frame, table, "overwrite", partition_by)

    def replace(self, frame: DataFrame, table: str, condition: str) -> int:
        """Replace the rows that meet a SQL condition, in one commit; the version afterwards."""
        writer = frame.write.format("delta").mode("overwrite").option("userMetadata", self.run_id)
        writer.option("replaceWhere", condition).save(self.path(table))
        return self.version(table)

    def delete(self, table: str, keys: DataFrame, condition: str) -> int:
        """Delete the rows ``t`` that meet a SQL condition with a row ``k`` of ``keys``; the version then.

        ``keys`` has at most one row for a row of the table.
        """
        with self._stamped():
            target = DeltaTable.forPath(self.spark, self.path(table)).alias("t")
            target.merge(keys.alias("k"), condition).whenMatchedDelete().execute()
        return self.version(table)

    def set_properties(self, table: str, properties: Mapping[str, str]) -> int:
        """Set properties of a table, in a commit of its own; the version afterwards."""
        given = ", ".join(f"'{name}' = '{value}'" for name, value in properties.items())
        with self._stamped():
            self.spark.sql(f"ALTER TABLE delta.`{self.path(table)}` SET TBLPROPERTIES ({given})")
        return self.version(table)

    def compact(self, table: str) -> int:
        """Put small files together, each partition's for itself; the version afterwards."""
        with self._stamped():
            DeltaTable.forPath(self.spark, self.path(table)).optimize().executeCompaction()
        return self.version(table)

    def restore(self, table: str, version: int) -> None:
        """Put the table back to a version, in a commit of its own."""
        with self._stamped():
            DeltaTable.forPath(self.spark, self.path(table)).restoreToVersion(version)

    def _stamped(self) -> AbstractContextManager[None]:
        """Commits that take no options of their own are stamped through the session."""
        return session_settings(self.spark, {_USER_METADATA: self.run_id})

    def version(self, table: str) -> int:
        """The table's newest version, from the log alone: Spark would run a job for it."""
        return int(deltalake.DeltaTable(self.path(table)).version())

    def rows(self, table: str) -> int:
        """Rows of the newest version, from the log alone; 0 where there is no table."""
        if not self.exists(table):
            return 0
        actions = deltalake.DeltaTable(self.path(table)).get_add_actions(flatten=True)
        return int(sum(actions.column("num_records").to_pylist()))

    def rows_written(self, table: str, before: int) -> int:
        """Rows of the newest commit by Delta's own count; 0 where there is none after version ``before``.

        Delta commits no append without rows.
        """
        log = deltalake.DeltaTable(self.path(table))
        if log.version() == before:
            return 0
        return int(log.history(1)[0]["operationMetrics"]["numOutputRows"])

    def append_arrow(self, rows: pa.Table, table: str) -> int:
        """Append few rows that are at hand, without a Spark job; the table's version afterwards."""
        commit = CommitProperties(custom_metadata={"userMetadata": self.run_id})
        path = self.path(table)
        write_deltalake(
            path, rows, mode="append", commit_properties=commit, configuration=properties(rows.column_names)
        )
        return self.version(table)

    def _write(
        self,
        frame: DataFrame,
        table: str,
        mode: str,
        partition_by: tuple[str, ...],
    ) -> int:
        # Properties are set where the write creates the table; a later one, overwrite too, keeps them.
        writer = (
            frame.write.format("delta")
            .mode(mode)
            .option("userMetadata", self.run_id)
            .option("delta.enableDeletionVectors", "false")
            .options(**properties(frame.columns, partition_by))
        )
        if mode == "overwrite":
            writer = writer.option("overwriteSchema", "true")
        if partition_by:
            writer = writer.partitionBy(*partition_by)
        writer.save(self.path(table))
        return self.version(table)


def properties(columns: Iterable[str], partition_by: Iterable[str] = ()) -> dict[str, str]:
    """What a table with these columns is created with.

    >>> properties(["user_id", "ts", "raw"])["delta.dataSkippingStatsColumns"]
    'ts'
    """
    own = set(partition_by)
    kept = [name for name in columns if name in SKIPPING and name not in own]
    return {STATISTICS: ",".join(kept), **LOG_RETENTION}


def require_writable(root: str) -> None:
    """WarehouseError unless a local warehouse folder can be made and written to, and Delta can read it."""
    if "://" in root:
        return
    folder = Path(root).absolute()
    if odd := sorted(set(str(folder)) & set("#%?")):
        raise WarehouseError(
            f"{folder}: the warehouse cannot lie in a folder with {' '.join(odd)} in its name, which "
            "delta-rs takes for parts of a URL; choose another with --warehouse DIR"
        )
    probe = folder / ".seqloom-write-probe"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise WarehouseError(
            f"{root}: the warehouse cannot be written ({error.strerror}); "
            "choose another with --warehouse DIR or mend its permissions"
        ) from None
