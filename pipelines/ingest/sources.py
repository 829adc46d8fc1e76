"""Read any source as records of strings; whole-source faults are raised, row faults are marked."""

from collections.abc import Callable, Sequence
from typing import Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.config.model import Source
from pipelines.ingest.columnar import read_delta, read_parquet
from pipelines.ingest.csv_source import read_csv
from pipelines.ingest.json_source import read_jsonl
from pipelines.ingest.records import Records

RAW_FIELDS: Final = (
    "user_id",
    "item_id",
    "category_id",
    "event_type",
    "ts",
    "event_id",
    "sequence",
    "session_key",
)
"""The columns of a raw row, null where the source maps none: strings, only a ``ts`` may be a time."""

READERS: Final[dict[str, Callable[[SparkSession, Records], DataFrame]]] = {
    "csv": read_csv,
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "delta": read_delta,
}


def read_records(spark: SparkSession, records: Records) -> DataFrame:
    """The wanted columns, with ``raw``, ``layout``, ``file`` and ``fault`` (a reason, or null).

    All are strings; only a ``ts`` that is a timestamp stays one.
    """
    return READERS[records.format](spark, records)


def read_source(spark: SparkSession, source: Source) -> DataFrame:
    """Raw rows: ``RAW_FIELDS``, ``raw`` (payload), ``layout``, ``file``, ``fault`` (or null).

    Raises SourceError (exit status 2) where the source as a whole cannot be read as configured.
    """
    records = source_records(source)
    return raw_rows(read_records(spark, records), records)


def source_records(source: Source) -> Records:
    """What the configured source maps."""
    columns = {ours: theirs for ours, theirs in source.columns.model_dump().items() if theirs}
    return Records(
        source.path,
        source.format,
        columns,
        header=source.header,
        field_names=source.field_names,
        delimiter=source.delimiter,
        ts_unit=source.ts_unit,
    )


def raw_rows(read: DataFrame, records: Records, carried: Sequence[str] = ()) -> DataFrame:
    """All of ``RAW_FIELDS`` and what comes with them, with the columns ``carried``."""
    there = records.columns
    return read.select(
        *(F.col(name) if name in there else F.lit(None).cast("string").alias(name) for name in RAW_FIELDS),
        "raw",
        "layout",
        "file",
        "fault",
        *carried,
    )
