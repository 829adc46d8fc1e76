"""What kind of values a typed source's columns hold, so that no later batch brings the same names for others.

Values are taken as text: of another type the same id could read differently (``007`` and ``7``), and its user
or item would go on under another name. Text formats have no types; a batch of theirs changes nothing here.
"""

from collections.abc import Mapping
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    NumericType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from pipelines.errors import SourceError
from pipelines.ingest.records import Records

KIND: Final = "kind"
"""Key of a column's metadata."""


def kind_of(type_: DataType) -> str:
    """Types of one kind read as the same text: whole numbers do, also those held as floats.

    >>> from pyspark.sql.types import DoubleType, LongType
    >>> kind_of(LongType()), kind_of(DoubleType()), kind_of(DecimalType(10, 2)), kind_of(StringType())
    ('number', 'number', 'decimal(10,2)', 'text')
    """
    if isinstance(type_, StringType):
        return "text"
    if isinstance(type_, DecimalType) and type_.scale:
        return type_.simpleString()
    if isinstance(type_, NumericType):
        return "number"
    if isinstance(type_, DateType | TimestampType | TimestampNTZType):
        return "time"
    return "boolean" if isinstance(type_, BooleanType) else type_.simpleString()


def settled_kinds(
    read: DataFrame, bronze: DataFrame | None, records: Records, before: Mapping[str, str]
) -> dict[str, str]:
    """Ours -> kind of the columns so far, those of ``read`` among them (as ``read_source`` gives it).

    ``before`` says it of the events in ``bronze``. SourceError where values of another kind come to a column;
    one that is empty here or there, and has but the type that its writer gave it, may have any.
    """
    settled = dict(before)
    for field in read.schema:
        ours, kind = field.name, field.metadata.get(KIND)
        if kind is None or settled.setdefault(ours, kind) == kind or _is_empty(read, ours):
            continue
        if bronze is not None and not _is_empty(bronze, ours):
            was, theirs = before[ours], records.columns[ours]
            raise SourceError(
                f"{records.path}: column {theirs} ({ours}) is {kind}, but was {was} in earlier batches: the "
                f"same value might read differently; write it as {was}, or start over with --full-refresh"
            )
        settled[ours] = kind
    return settled


def _is_empty(rows: DataFrame, column: str) -> bool:
    return rows.where(F.col(column).isNotNull()).isEmpty()
