"""What every stage of one run is given."""

from dataclasses import dataclass
from datetime import datetime
from functools import reduce

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from pipelines.config import Config
from pipelines.pointer import Published
from pipelines.positions import unbuilt
from pipelines.progress import Progress
from pipelines.warehouse import Warehouse


@dataclass(frozen=True)
class Run:
    """One run: its warehouse and settings, its clock, and the version it builds upon."""

    warehouse: Warehouse
    config: Config
    run_id: str
    started_at: datetime  # UTC; the run's only clock, stamped on what it ingests
    pointer: Published | None
    progress: Progress

    def is_new(self) -> Column:
        """Rows of bronze that the last build did not see: the run's own, and what streams brought since."""
        return (F.col("batch_id") == self.run_id) | self.is_streamed()

    def is_streamed(self) -> Column:
        """Rows of bronze that streams brought since the last build."""
        ranges = [] if self.pointer is None else unbuilt(self.pointer.streams)
        conditions = [F.col("batch_id").between(first, last) for first, last in ranges]
        return reduce(Column.__or__, conditions, F.lit(False))

    @property
    def spark(self) -> SparkSession:
        """The warehouse's Spark session."""
        return self.warehouse.spark
