"""Where tables lie and how they are read and written: the one place that names paths."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import deltalake
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from pipelines.errors import WarehouseError

LAYERS = ("bronze", "silver", "gold", "scores", "embeddings", "ops")


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
        return bool(DeltaTable.isDeltaTable(self.spark, self.path(table)))

    def read(self, table: str, version: int | None = None) -> DataFrame:
        """The table's rows, at a version or at its newest."""
        reader = self.spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        return reader.load(self.path(table))

    def append(
        self,
        frame: DataFrame,
        table: str,
        partition_by: tuple[str, ...] = (),
        properties: Mapping[str, str] | None = None,
    ) -> int:
        """Append rows; the table's version afterwards. ``properties`` are set where it is created."""
        return self._write(frame, table, "append", partition_by, properties)

    def overwrite(self, frame: DataFrame, table: str, partition_by: tuple[str, ...] = ()) -> int:
        """Replace all rows, and the schema where it changed; the version afterwards."""
        return self._write(frame, table, "overwrite", partition_by)

    def replace(self, frame: DataFrame, table: str, condition: str) -> int:
        """Replace the rows that meet a SQL condition, in one commit; the version afterwards."""
        writer = frame.write.format("delta").mode("overwrite").option("userMetadata", self.run_id)
        writer.option("replaceWhere", condition).save(self.path(table))
        return self.version(table)

    def version(self, table: str) -> int:
        """The table's newest version, from the log alone: Spark would run a job for it."""
        return int(deltalake.DeltaTable(self.path(table)).version())

    def _write(
        self,
        frame: DataFrame,
        table: str,
        mode: str,
        partition_by: tuple[str, ...],
        properties: Mapping[str, str] | None = None,
    ) -> int:
        writer = (
            frame.write.format("delta")
            .mode(mode)
            .option("userMetadata", self.run_id)
            .option("delta.enableDeletionVectors", "false")
            .options(**(properties or {}))
        )
        if mode == "overwrite":
            writer = writer.option("overwriteSchema", "true")
        if partition_by:
            writer = writer.partitionBy(*partition_by)
        writer.save(self.path(table))
        return self.version(table)


def require_writable(root: str) -> None:
    """WarehouseError unless a local warehouse folder can be made and written to."""
    if "://" in root:
        return
    probe = Path(root) / ".seqloom-write-probe"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise WarehouseError(
            f"{root}: the warehouse cannot be written ({error.strerror}); "
            "choose another with --warehouse DIR or mend its permissions"
        ) from None
