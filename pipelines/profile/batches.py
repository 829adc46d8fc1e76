"""Rows of a log's files as pandas batches: text columns hold str or None, Parquet keeps its types."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipelines.errors import SourceError
from pipelines.profile.files import DAMAGED, Found, open_text

BATCH: Final = 50_000


@dataclass(frozen=True)
class Layout:
    """How the rows lie in the files; the last three are of csv only."""

    format: str
    names: tuple[str, ...]
    delimiter: str = ","
    header: bool = True


@dataclass
class Faults:
    """Rows that could not be read, by reason; filled while batches are drawn."""

    counts: Counter[str] = field(default_factory=Counter)


def read_batches(
    found: Found, layout: Layout, faults: Faults, columns: Sequence[str] | None = None
) -> Iterator[pd.DataFrame]:
    """Batches of at most ``BATCH`` rows over all files in name order, of ``columns`` only where given.

    Raises SourceError for a file that cannot be read at all.
    """
    if layout.format in ("parquet", "delta"):
        yield from _parquet(found, columns, faults)
        return
    for file in found.files:
        try:
            if layout.format == "csv":
                yield from _csv(file, layout, columns, faults)
            else:
                yield from _jsonl(file, faults)
        except DAMAGED as error:
            raise SourceError(f"{file}: the gzip stream is damaged ({error}); fetch the file again") from None
        except csv.Error as error:
            raise SourceError(f"{file}: not readable as csv ({error}); check its quotes") from None
        except OSError as error:
            raise SourceError(f"{file}: cannot be read: {error.strerror}") from None


def split_rows(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    """Fields of each row; quotes work with one-character delimiters only (``::`` is split plainly)."""
    if len(delimiter) == 1:
        return csv.reader(lines, delimiter=delimiter)
    return (line.rstrip("\r\n").split(delimiter) for line in lines)


def _csv(file: Path, layout: Layout, columns: Sequence[str] | None, faults: Faults) -> Iterator[pd.DataFrame]:
    width = len(layout.names)
    with open_text(file) as lines:
        rows = split_rows(lines, layout.delimiter)
        names = next(rows, []) if layout.header else list(layout.names)
        if sorted(names) != sorted(layout.names):  # another order of the columns is fine
            faults.counts["in a file with another header"] += sum(1 for _ in rows)
            return
        while chunk := list(islice(rows, BATCH)):
            # files are often concatenated with their headers
            chunk = [row for row in chunk if row and not (layout.header and row == names)]
            whole = [row for row in chunk if len(row) == width]
            faults.counts["wrong number of fields"] += len(chunk) - len(whole)
            yield _text_frame(whole, tuple(names), columns, faults)


def _text_frame(
    rows: Sequence[Sequence[str]], names: tuple[str, ...], columns: Sequence[str] | None, faults: Faults
) -> pd.DataFrame:
    fields = dict(zip(names, zip(*rows, strict=True) if rows else ((),) * len(names), strict=True))
    wanted = {name: fields[name] for name in (columns or names)}
    broken: set[int] = set()
    for values in wanted.values():
        if "\ufffd" in "".join(values):
            broken.update(place for place, text in enumerate(values) if "\ufffd" in text)
    faults.counts["bytes that are not UTF-8"] += len(broken)
    return pd.DataFrame(
        {name: _objects([text or None for text in values]) for name, values in wanted.items()}
    )


def _objects(values: list[str | None]) -> np.ndarray[Any, Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _jsonl(file: Path, faults: Faults) -> Iterator[pd.DataFrame]:
    with open_text(file) as lines:
        while chunk := list(islice(lines, BATCH)):
            records = [record for line in chunk if (record := _record(line, faults)) is not None]
            yield pd.DataFrame(records, dtype=object)


def _record(line: str, faults: Faults) -> dict[str, str | None] | None:
    if not line.strip():
        return None
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        faults.counts["not a JSON object"] += 1
        return None
    if "\ufffd" in line:
        faults.counts["bytes that are not UTF-8"] += 1
    return {str(key): _plain(value) for key, value in record.items() if not isinstance(value, dict | list)}


def _plain(value: Any) -> str | None:
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value)


def _parquet(found: Found, columns: Sequence[str] | None, faults: Faults) -> Iterator[pd.DataFrame]:
    by_columns: dict[tuple[str, ...], list[str]] = {}
    try:
        for file in found.files:
            schema = ds.dataset(str(file), format="parquet").schema
            by_columns.setdefault(tuple(sorted(schema.names)), []).append(str(file))
        main, *others = by_columns.values()
        for files in others:
            rows = ds.dataset(files, format="parquet").count_rows()
            faults.counts["in a file with other columns"] += rows
        # partition folders such as dt=2017-11-25 bring a column, as they do in Spark
        dataset = ds.dataset(main, format="parquet", partitioning="hive", partition_base_dir=str(found.root))
        flat = [f.name for f in dataset.schema if not pa.types.is_nested(f.type)]
        wanted = flat if columns is None else list(columns)
        for batch in dataset.to_batches(columns=wanted, batch_size=BATCH, batch_readahead=1):
            if batch.num_rows:
                yield _typed_frame(batch)
    except (pa.ArrowException, OSError) as error:
        first = " ".join(str(error).split())[:160]
        raise SourceError(f"{found.root}: not readable as Parquet: {first}") from None


def _typed_frame(batch: pa.RecordBatch) -> pd.DataFrame:
    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()  # noqa: PLW2901
        whole_numbers = pa.types.is_integer(column.type) and not column.null_count
        if whole_numbers or pa.types.is_timestamp(column.type) or pa.types.is_floating(column.type):
            columns[name] = column.to_pandas()
        elif pa.types.is_date(column.type):
            columns[name] = column.cast(pa.timestamp("us")).to_pandas()
        else:  # text, and whole numbers with nulls, which floats would blur
            text = column if pa.types.is_binary(column.type) else pc.cast(column, pa.string())
            columns[name] = text.to_pandas()
    return pd.DataFrame(columns)
