"""CSV: splittable by line, with quoted delimiters, quotes and line breaks, one schema a header."""

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.errors import SourceError
from pipelines.ingest.files import HEAD_BYTES, SourceFile, heads, list_files, reading
from pipelines.ingest.lines import head_lines, read_lines, require_content
from pipelines.ingest.quotes import join_batches
from pipelines.ingest.records import (
    BAD_ENCODING,
    WRONG_FIELD_COUNT,
    Records,
    require_columns,
    text_payload,
)
from pipelines.workers import in_workers

OTHER_DELIMITERS = {",": "','", ";": "';'", "\t": "a tab ('\\t')", "|": "'|'"}
SAMPLED_LINES = 20


def read_csv(spark: SparkSession, records: Records) -> DataFrame:
    """The mapped columns as strings, ``raw``, ``layout``, ``file`` and ``fault``.

    Files of a folder may order their columns differently. A line that equals its file's header is no
    record, wherever it stands (files are often concatenated with their headers).
    """
    files = require_content(records.path, list_files(spark, records.path, records.files))
    by_header: dict[str | None, list[SourceFile]] = defaultdict(list)
    names: dict[str | None, list[str]] = {}
    for file, head in zip(files, heads(spark, files), strict=True):
        lines = head_lines(file, head, complete=len(head) < HEAD_BYTES)
        header, columns = _columns(records, file, lines)
        names[header] = columns
        by_header[header].append(file)
    parts = [_read_alike(spark, records, group, header, names[header]) for header, group in by_header.items()]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.unionByName(part)
    return whole


def _columns(records: Records, file: SourceFile, lines: list[bytes]) -> tuple[str | None, list[str]]:
    """A file's header line and column names, after the checks that a look at its beginning allows."""
    if not lines:
        raise SourceError(f"{file.path}: the file holds blank lines only; leave it out of {records.path}")
    if not records.header:
        assert records.field_names is not None
        _require_width(records, file, lines)
        return None, list(records.field_names)
    try:
        header = lines[0].decode("utf-8")
    except UnicodeDecodeError:
        raise SourceError(f"{file.path} row 1: the header is not UTF-8 text; re-encode the file") from None
    names = _split(header, records.delimiter)
    if len(names) == 1:
        _refuse_other_delimiter(records, file, header)
    require_columns(
        records, file.path, names, f", or {records.section}.header = false if row 1 is data already"
    )
    twice = [name for name in records.columns.values() if names.count(name) > 1]
    if twice:
        raise SourceError(f"{file.path}: the header names {twice[0]} twice; rename one of the two columns")
    return header, names


def _require_width(records: Records, file: SourceFile, lines: list[bytes]) -> None:
    """SourceError where none of the first lines has as many fields as ``field_names``."""
    assert records.field_names is not None
    texts = [line.decode("latin-1") for line in lines[:SAMPLED_LINES]]
    widths = [len(_split(text, records.delimiter)) for text in texts]
    if len(records.field_names) in widths or any(text.count('"') % 2 for text in texts):
        return
    if max(widths) == 1:
        _refuse_other_delimiter(records, file, texts[0])
    raise SourceError(
        f"{file.path} row 1: {widths[0]} fields, but {records.section}.field_names lists "
        f"{len(records.field_names)}; name every column in file order"
    )


def _refuse_other_delimiter(records: Records, file: SourceFile, line: str) -> None:
    for delimiter, shown in OTHER_DELIMITERS.items():
        if delimiter != records.delimiter and delimiter in line:
            raise SourceError(
                f"{file.path} row 1: one column with delimiter {records.delimiter!r}; it looks separated by "
                f"{shown}: set {records.section}.delimiter"
            )


def _split(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _read_alike(
    spark: SparkSession, records: Records, files: list[SourceFile], header: str | None, names: list[str]
) -> DataFrame:
    """Files that share their header line."""
    lines = read_lines(spark, files)
    if header is not None:
        lines = lines.where(F.col("value") != header)
    with reading(records.path):
        broken = _files_with_open_quotes(lines)
    lines = _join_lines(lines, records.delimiter, len(names), broken) if broken else lines
    return parse_lines(lines, records, names, records.delimiter)


def parse_lines(lines: DataFrame, records: Records, names: list[str], delimiter: str) -> DataFrame:
    """Records from ``value`` and ``file``, given the names of all columns in their order.

    ``layout`` is what it takes to read ``raw`` again (``pipelines.ingest.quarantine``).
    """
    schema = ", ".join(f"c{place} STRING" for place in range(len(names))) + ", corrupt STRING"
    options = {
        "sep": delimiter,
        "quote": '"',
        "escape": '"',
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": "corrupt",
    }
    valid, payload = text_payload(F.col("value"))
    fault = F.when(~valid, BAD_ENCODING).when(F.col("parsed.corrupt").isNotNull(), WRONG_FIELD_COUNT)
    return lines.select("value", "file", F.from_csv("value", schema, options).alias("parsed")).select(
        *(F.col(f"parsed.c{names.index(theirs)}").alias(ours) for ours, theirs in records.columns.items()),
        payload.alias("raw"),
        F.lit(json.dumps({"columns": names, "delimiter": delimiter})).alias("layout"),
        "file",
        fault.alias("fault"),
    )


def _files_with_open_quotes(lines: DataFrame) -> list[str]:
    """Files in which some line holds an odd number of quotes, so that a field may span lines."""
    quotes = F.length("value") - F.length(F.replace("value", F.lit('"'), F.lit("")))
    odd = F.contains(F.col("value"), F.lit('"')) & (quotes % 2 == 1)
    return [row[0] for row in lines.where(odd).select("file").distinct().collect()]


def _join_lines(lines: DataFrame, delimiter: str, fields: int, broken: list[str]) -> DataFrame:
    """Lines with the records of the named files put together; such a file is one task's work."""

    def join(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return join_batches(batches, delimiter, fields)

    named = F.col("file").isin(broken)
    ordered = (
        lines.where(named)
        .select(F.col("value").cast("binary"), "file", "block", "line")
        .repartition(min(len(broken), 200), "file")
        .sortWithinPartitions("file", "block", "line")
    )
    joined = in_workers(ordered.select("value", "file"), join, "value binary, file string")
    return (
        lines.where(~named)
        .select("value", "file")
        .unionByName(joined.select(F.col("value").cast("string"), "file"))
    )
