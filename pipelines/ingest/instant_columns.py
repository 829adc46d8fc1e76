"""Read a text column as instants in µs, UTC, whatever its unit; null where it is none."""

from typing import Final

from pyspark.sql import Column
from pyspark.sql import functions as F

from features.instants import ISO_DAY, UNIT_US

LAST_US: Final = 253_402_300_799_999_999
"""The end of the year 9999: what a table's timestamp can hold and Python can read."""


def parse_micros(text: Column, unit: str) -> Column:
    """µs since the epoch as bigint.

    Numbers are read exactly (``1511544070``, ``1511544070.25``, ``1.5E9``; digits beyond a µs are
    rounded). ISO times without a zone are UTC. Null: unreadable, before 1970 or after 9999.
    """
    return _known(_iso(text) if unit == "iso" else _number(text, UNIT_US[unit]))


def micros_of(instant: Column) -> Column:
    """The same of a timestamp column."""
    return _known(F.unix_micros(instant))


def _known(micros: Column) -> Column:
    return F.when(micros.between(0, LAST_US), micros)


def _iso(text: Column) -> Column:
    return F.unix_micros(F.when(text.rlike(ISO_DAY), text).try_cast("timestamp"))


def _number(text: Column, factor: int) -> Column:
    whole = F.try_multiply(text.try_cast("bigint"), F.lit(factor).cast("bigint"))
    exact = F.try_multiply(text.try_cast("decimal(28,6)"), F.lit(factor).cast("decimal(7,0)"))
    return F.coalesce(whole, exact.try_cast("bigint"))
