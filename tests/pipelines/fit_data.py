"""Small encoded, sessionized events with known themes, for the tests of the fit."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from features.sessions import SessionRule
from pipelines.fit.options import EmbeddingOptions, FitOptions, HopOptions, ThemeOptions

DAY_US = 86_400_000_000

SMALL = FitOptions(
    EmbeddingOptions(dimensions=8, window=4),
    ThemeOptions(count=4, candidates=(2, 4, 8), restarts=1),
    HopOptions(),
)


@dataclass(frozen=True)
class Events:
    """Rows in user order, and the true theme of each session by (user, session)."""

    table: pa.Table
    theme: dict[tuple[str, int], int]


def themed_events(
    users: int = 60, sessions: int = 10, *, themes: int = 4, items: int = 30, off: float = 0.1, seed: int = 0
) -> Events:
    """Sessions of 3 to 8 events; theme t owns items [2 + 30t, 2 + 30t + 30) and 3 categories of 10."""
    rng = np.random.default_rng(seed)
    columns: dict[str, list[object]] = {name: [] for name in SCHEMA.names}
    truth = {}
    for user in range(users):
        ordinal = 0
        for session in range(1, sessions + 1):
            theme = int(rng.integers(themes))
            truth[f"u{user:03d}", session] = theme
            for place in range(int(rng.integers(3, 9))):
                ordinal += 1
                shown = int(rng.integers(themes)) if rng.random() < off else theme
                item = shown * items + int(rng.integers(items))
                row = (
                    f"u{user:03d}",
                    f"e{user:03d}-{ordinal:04d}",
                    session * DAY_US + place * 60_000_000,
                    item + 2,
                    item // 10 + 2,
                    2,
                    1,
                    ordinal,
                    session,
                )
                for name, value in zip(SCHEMA.names, row, strict=True):
                    columns[name].append(value)
    return Events(pa.table(columns, schema=SCHEMA), truth)


SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("event_id", pa.string()),
        ("ts", pa.int64()),
        ("item", pa.int32()),
        ("category", pa.int32()),
        ("type", pa.int32()),
        ("mode", pa.int32()),
        ("ordinal", pa.int32()),
        ("session", pa.int32()),
    ]
)


AS_GIVEN = SessionRule("source_key")
"""The sessions that the events name."""


def to_spark(spark: SparkSession, table: pa.Table, partitions: int = 2) -> DataFrame:
    """Whole users in each partition, sorted by user and order."""
    frame = spark.createDataFrame(table).withColumn("session_key", F.col("session").cast("string"))
    return frame.repartition(partitions, "user_id").sortWithinPartitions("user_id", "ordinal")
