"""What counts as an instant in a source: units of numbers and the form of texts."""

from typing import Final

UNIT_US: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}
"""µs in a source's unit of time; the fourth ``ts_unit``, iso, is text."""

ISO_DAY: Final = r"^\d{4}-\d{1,2}-\d{1,2}([T ]\d{1,2}:\d{1,2}.*)?$"
"""Texts that begin with a day: parsers would take ``12:00`` for noon of the day on which they run."""
