"""One look over a source before anything is written: how many rows, refused for what, at what times."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.instants import from_micros, to_micros
from pipelines.placing import hour_of

DAY_US: Final = 86_400_000_000
DAY_CLOCK_EVENTS: Final = 100
"""Fewer events may all lie at midnight by chance, or in an example."""


@dataclass(frozen=True)
class Survey:
    """Counts of rows; times span the valid events of the run."""

    rows: int
    skipped: int
    valid: int
    midnights: int  # valid events at midnight
    rejected: dict[str, int] = field(default_factory=dict)
    hours: list[tuple[int, int]] = field(default_factory=list)  # since the epoch, and valid events of each
    min_ts: datetime | None = None
    max_ts: datetime | None = None

    @property
    def events(self) -> int:
        """Rows that the run takes in."""
        return self.rows - self.skipped

    @property
    def tells_days_only(self) -> bool:
        """Whether enough events, all of them at midnight, show a clock that only tells the day."""
        return self.valid >= DAY_CLOCK_EVENTS and self.midnights == self.valid


def take_survey(checked: DataFrame, start: datetime | None, end: datetime | None) -> Survey:
    """Count cleaned rows by reason; a row for each of them and for each hour of events reaches the driver."""
    hour = F.when(F.col("reason").isNull() & ~outside(start, end), hour_of(F.col("ts_us")))
    groups = (
        checked.groupBy(outside(start, end).alias("outside"), "reason", hour.alias("hour"))
        .agg(
            F.count(F.lit(1)).alias("rows"),
            F.count_if(F.col("ts_us") % DAY_US == 0).alias("midnights"),
            F.min("ts_us").alias("first"),
            F.max("ts_us").alias("last"),
        )
        .collect()
    )
    taken = [group for group in groups if not group["outside"]]
    valid = sorted((group for group in taken if group["reason"] is None), key=lambda group: group["hour"])
    refused = [group for group in taken if group["reason"] is not None]
    return Survey(
        rows=sum(group["rows"] for group in groups),
        skipped=sum(group["rows"] for group in groups if group["outside"]),
        valid=sum(group["rows"] for group in valid),
        midnights=sum(group["midnights"] for group in valid),
        rejected={group["reason"]: group["rows"] for group in refused},
        hours=[(group["hour"], group["rows"]) for group in valid],
        min_ts=from_micros(valid[0]["first"]) if valid else None,
        max_ts=from_micros(valid[-1]["last"]) if valid else None,
    )


def outside(start: datetime | None, end: datetime | None) -> Column:
    """Rows that a run over ``[start, end)`` leaves alone: a readable time outside of it."""
    ts = F.col("ts_us")
    skipped = F.lit(False)
    if start is not None:
        skipped = skipped | (ts < to_micros(start))
    if end is not None:
        skipped = skipped | (ts >= to_micros(end))
    return F.coalesce(skipped, F.lit(False))
