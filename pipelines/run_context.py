"""What every stage of one run is given."""

from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import SparkSession

from pipelines.config import Config
from pipelines.pointer import Published
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

    @property
    def spark(self) -> SparkSession:
        """The warehouse's Spark session."""
        return self.warehouse.spark
