"""Type, validate and name raw rows: columns in, columns out."""

from datetime import datetime
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StringType

from features.codes import MODE_CODES
from features.durations import parse_duration
from pipelines.config.model import Config, Source
from pipelines.ingest import reasons as R
from pipelines.ingest.instant_columns import micros_of, parse_micros
from pipelines.instants import to_micros

TYPED: Final = (
    "event_id",  # null until `with_event_id` where the source gives none
    "user_id",
    "item_id",
    "category_id",
    "event_type",
    "mode",
    "ts_us",
    "sequence",
    "session_key",
)
"""What ``clean`` makes of a row; ``mode`` is int, ``ts_us`` and ``sequence`` are bigint."""


def clean(raw: DataFrame, config: Config, ingested_at: datetime) -> DataFrame:
    """``TYPED``, ``reason``, ``raw``, ``layout`` and ``file`` of every raw row.

    ``reason`` is null for a valid event, else the first of ``REASONS`` that applies. Ids are text,
    less the blanks around it: a negative or a 20-digit id is as good as any. An event without a type is
    a ``browse``.
    """
    source = config.source
    is_text = isinstance(raw.schema["ts"].dataType, StringType)
    typed = (
        raw.select(
            *(_blank_to_null(F.col(name)).alias(name) for name in ("user_id", "item_id", "category_id")),
            _blank_to_null(F.col("event_type")).alias("source_type"),
            _blank_to_null(F.col("event_id")).alias("source_event_id"),
            _blank_to_null(F.col("session_key")).alias("session_key"),
            _blank_to_null(F.col("ts")).alias("ts") if is_text else "ts",
            _blank_to_null(F.col("sequence")).alias("source_sequence"),
            "raw",
            "layout",
            "file",
            "fault",
        )
        .withColumn("ts_us", parse_micros(F.col("ts"), source.ts_unit) if is_text else micros_of(F.col("ts")))
        .withColumn("mode", _mode(F.col("source_type"), source))
        .withColumn("event_type", _event_type(F.col("source_type"), source))
        .withColumn("sequence", F.col("source_sequence").try_cast("bigint"))
    )
    return (
        typed.withColumn("reason", _reason(config, ingested_at))
        .withColumnRenamed("source_event_id", "event_id")
        .select(*TYPED, "reason", "raw", "layout", "file")
    )


def _blank_to_null(text: Column) -> Column:
    trimmed = F.trim(text)
    return F.when(trimmed != "", trimmed)


def _mode(source_type: Column, source: Source) -> Column:
    """Mode code of a source's event type; null where the type is refused."""
    unlisted = source.unlisted_event_type
    if not source.columns.event_type:
        return F.lit(MODE_CODES["browse"] if unlisted == "reject" else MODE_CODES[unlisted])
    mode = F.lit(None if unlisted == "reject" else MODE_CODES[unlisted]).cast("int")
    for theirs, name in source.event_types.items():
        mode = F.when(source_type == theirs, MODE_CODES[name]).otherwise(mode)
    return mode


def _event_type(source_type: Column, source: Source) -> Column:
    unlisted = source.unlisted_event_type
    return F.coalesce(source_type, F.lit("browse" if unlisted == "reject" else unlisted))


def _reason(config: Config, ingested_at: datetime) -> Column:
    source = config.source
    ts = F.col("ts_us")
    latest = to_micros(ingested_at) + parse_duration(config.ingest.max_clock_skew)
    rules: list[tuple[str, Column]] = [
        (R.MISSING_USER_ID, F.col("user_id").isNull()),
        (R.MISSING_ITEM_ID, F.col("item_id").isNull()),
    ]
    if source.columns.event_id:
        rules.append((R.MISSING_EVENT_ID, F.col("source_event_id").isNull()))
    rules += [
        (R.MISSING_TS, F.col("ts").isNull()),
        (R.BAD_TS, ts.isNull()),
        (R.FUTURE, ts > latest),
    ]
    if source.window.start:
        rules.append((R.OUT_OF_WINDOW, ts < to_micros(source.window.start)))
    if source.window.end:
        rules.append((R.OUT_OF_WINDOW, ts >= to_micros(source.window.end)))
    rules += [
        (R.UNKNOWN_EVENT_TYPE, F.col("mode").isNull()),
        (R.BAD_SEQUENCE, F.col("source_sequence").isNotNull() & F.col("sequence").isNull()),
    ]
    if config.sessions.rule == "source_key":
        rules.append((R.MISSING_SESSION_KEY, F.col("session_key").isNull()))
    reason = F.lit(None).cast("string")
    for name, applies in reversed(rules):
        reason = F.when(applies, name).otherwise(reason)
    return _computed_once(F.coalesce(F.col("fault"), reason))


def _computed_once(reason: Column) -> Column:
    """The same column, which Spark does not push a filter through.

    A filter on ``reason`` would otherwise move below the parsing and repeat it for every rule: ingest of
    2 M CSV lines took 57 s of CPU, with this 24 s. A row number keeps it in place, and is never negative.
    """
    return F.coalesce(reason, F.when(F.monotonically_increasing_id() < 0, "never"))
