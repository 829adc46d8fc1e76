"""Refused rows once more, such as after a mapping was mended."""

import json
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.config.model import Source
from pipelines.errors import SourceError
from pipelines.ingest.csv_source import parse_lines
from pipelines.ingest.json_source import parse_objects
from pipelines.ingest.reasons import LATE
from pipelines.ingest.records import BAD_ENCODING, Records
from pipelines.ingest.sources import raw_rows, source_records
from pipelines.ingest.write import REJECTED
from pipelines.warehouse import Warehouse


def read_quarantine(warehouse: Warehouse, source: Source) -> DataFrame:
    """The raw rows of ``bronze/events_rejected``, under the source's columns as they are mapped now.

    A text line is read by the columns that its file had, a row of Parquet or Delta from its JSON. A line that
    is not UTF-8 or came too late stays refused, and so does one without payload, which named an erased user.
    SourceError where there is none, or a line lacks a mapped column.
    """
    rejected = warehouse.read(REJECTED) if warehouse.exists(REJECTED) else None
    if rejected is None or rejected.isEmpty():
        raise SourceError(f"{warehouse.path(REJECTED)}: no row was refused, so that none can be tried again")
    records = source_records(source)
    lines = rejected.where(_readable()).withColumnRenamed("raw", "value")
    late = F.col("reason") == LATE
    parts = []
    for layout in _layouts(lines):
        parts.append(_read_alike(lines.where(~late), records, layout))
        parts.append(_read_alike(lines.where(late), records, layout).withColumn("fault", F.lit(LATE)))
    stay = rejected.where(~_readable()).select("raw", "layout", "file", F.col("reason").alias("fault"))
    nothing = [F.lit(None).cast("string").alias(ours) for ours in records.columns]
    parts.append(stay.select(*nothing, "raw", "layout", "file", "fault"))
    return raw_rows(reduce(DataFrame.unionByName, parts), records)


def users_of_lines(rejected: DataFrame, theirs: str) -> DataFrame | None:
    """``raw``, ``layout`` and the ``user_id`` of refused rows that can be read; None where there are none.

    ``theirs`` is the source's name for the user id; lines of a file without it are left out.
    """
    records = Records("bronze/events_rejected", "csv", {"user_id": theirs})
    lines = rejected.where(_readable()).select(F.col("raw").alias("value"), "file", "layout")
    parts = [
        _read_alike(lines, records, layout)
        for layout in _layouts(lines)
        if layout is None or theirs in json.loads(layout)["columns"]
    ]
    if not parts:
        return None
    own = ("raw", "layout", F.trim("user_id").alias("user_id"))
    return reduce(DataFrame.unionByName, (part.select(*own) for part in parts))


def _readable() -> Column:
    """Refused rows whose payload is text; one that named an erased user has none."""
    return F.col("raw").isNotNull() & (F.col("reason") != BAD_ENCODING)


def _layouts(lines: DataFrame) -> list[str | None]:
    return [row[0] for row in lines.select("layout").distinct().collect()]


def _read_alike(lines: DataFrame, records: Records, layout: str | None) -> DataFrame:
    own = lines.where(F.col("layout").eqNullSafe(F.lit(layout))).select("value", "file")
    if layout is None:
        return parse_objects(own, records)
    written = json.loads(layout)
    missing = [theirs for theirs in records.columns.values() if theirs not in written["columns"]]
    if missing:
        raise SourceError(
            f"bronze/events_rejected: lines with the columns {', '.join(written['columns'])} have no "
            f"{missing[0]}; map columns that they have, or leave them in quarantine"
        )
    return parse_lines(own, records, written["columns"], written["delimiter"])
