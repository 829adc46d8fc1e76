"""What to read from a source: the mapping, and the fault every format shares, a missing column."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.errors import SourceError

BAD_ENCODING = "bad_encoding"
WRONG_FIELD_COUNT = "wrong_field_count"
BROKEN_JSON = "broken_json"


@dataclass(frozen=True)
class Records:
    """A source of records, and the columns wanted from it (``ours = theirs``)."""

    path: str
    format: str
    columns: Mapping[str, str]
    section: str = "source"  # of the config, for messages
    header: bool = True
    field_names: tuple[str, ...] | None = None
    delimiter: str = ","
    ts_unit: str | None = None  # of the column ``ts``, where one is wanted
    files: tuple[str, ...] | None = None  # those of ``path`` to read; all where None


def require_columns(records: Records, where: str, found: Iterable[str], hint: str = "") -> None:
    """SourceError that lists the columns found and the nearest name, unless all wanted ones are there."""
    names = list(found)
    for ours, theirs in records.columns.items():
        if theirs not in names:
            near = difflib.get_close_matches(theirs, names, n=1, cutoff=0.5)
            shown = ", ".join(names[:30]) + (", …" if len(names) > 30 else "")
            raise SourceError(
                f"{where}: no column {theirs}; found: {shown}"
                + (f"; did you mean {near[0]}?" if near else "")
                + f"; set {key(records, ours)}{hint}"
            )


def key(records: Records, ours: str) -> str:
    """The config key that maps a column."""
    return f"{records.section}.columns.{ours}" if records.section == "source" else f"{records.section}.{ours}"


def text_payload(value: Column) -> tuple[Column, Column]:
    """Whether a text line is valid UTF-8, and its payload: as it is, else ``0x`` and its bytes in hex."""
    valid = F.is_valid_utf8(value)
    return valid, F.when(valid, value).otherwise(F.concat(F.lit("0x"), F.hex(value)))
