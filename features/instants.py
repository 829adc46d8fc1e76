"""What counts as an instant in a source: units of numbers, the form of texts, the last one accepted."""

from typing import Final

UNIT_US: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}
"""µs in a source's unit of time; the fourth ``ts_unit``, iso, is text."""

LAST_US: Final = 253_402_300_799_999_999
"""The end of the year 9999: what a table's timestamp can hold and Python can read."""

ISO_DAY: Final = r"^\d{4}-\d{1,2}-\d{1,2}([T ]\d{1,2}:\d{1,2}.*)?$"
"""Texts that begin with a day: parsers would take ``12:00`` for noon of the day on which they run."""
