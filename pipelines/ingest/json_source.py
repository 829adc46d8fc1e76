"""JSON lines: one object a line."""

import json
from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from pipelines.errors import SourceError
from pipelines.ingest.files import HEAD_BYTES, SourceFile, heads, list_files
from pipelines.ingest.lines import head_lines, read_lines, require_content
from pipelines.ingest.records import BAD_ENCODING, BROKEN_JSON, Records, require_columns, text_payload

REQUIRED = ("user_id", "item_id", "ts")
CORRUPT = "__corrupt"


def read_jsonl(spark: SparkSession, records: Records) -> DataFrame:
    """The mapped columns as strings, ``raw``, ``layout``, ``file`` and ``fault``.

    Keys are looked for in each file's first MiB: required ones in every file, others in at least one,
    since writers leave out keys that are null.
    """
    files = require_content(records.path, list_files(spark, records.path, records.files))
    required = {ours: theirs for ours, theirs in records.columns.items() if ours in REQUIRED}
    everywhere: dict[str, None] = {}
    for file, head in zip(files, heads(spark, files), strict=True):
        found = _keys(file, head)
        require_columns(Records(records.path, records.format, required, records.section), file.path, found)
        everywhere |= dict.fromkeys(found)
    require_columns(records, records.path, everywhere)
    return parse_objects(read_lines(spark, files), records)


def parse_objects(lines: DataFrame, records: Records, carried: Sequence[str] = ()) -> DataFrame:
    """Records from ``value`` and ``file``, with the columns ``carried``; ``raw`` needs no ``layout``."""
    wanted = sorted(set(records.columns.values()))
    schema = StructType([StructField(name, StringType()) for name in (*wanted, CORRUPT)])
    parsed = F.from_json("value", schema, {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": CORRUPT})
    valid, payload = text_payload(F.col("value"))
    broken = F.col("parsed").isNull() | F.col("parsed")[CORRUPT].isNotNull()
    fault = F.when(~valid, BAD_ENCODING).when(broken, BROKEN_JSON)
    return lines.select("value", "file", *carried, parsed.alias("parsed")).select(
        *(F.col("parsed")[theirs].alias(ours) for ours, theirs in records.columns.items()),
        payload.alias("raw"),
        F.lit(None).cast("string").alias("layout"),
        "file",
        fault.alias("fault"),
        *carried,
    )


def _keys(file: SourceFile, head: bytes) -> list[str]:
    """Keys of the objects at a file's beginning, in order of appearance."""
    keys: dict[str, None] = {}
    lines = head_lines(file, head, complete=len(head) < HEAD_BYTES)
    objects = 0
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue  # the row itself is quarantined when Spark reads it
        if isinstance(value, dict):
            objects += 1
            keys |= dict.fromkeys(value)
    if not objects:
        array = bool(lines) and lines[0].lstrip().startswith(b"[")
        hint = "it looks like one JSON array: write one object a line" if array else "set source.format"
        raise SourceError(f"{file.path} row 1: no line is a JSON object; {hint}")
    return list(keys)
