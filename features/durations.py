"""Durations that carry their unit, such as ``30min``, as integer microseconds."""

import re
from typing import Final

UNITS_US: Final = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}


def parse_duration(text: str) -> int:
    """Microseconds of a duration such as ``30min``; ValueError where it is none or not positive.

    >>> parse_duration("30min")
    1800000000
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d)\s*", text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write a number and a unit, such as '30min' or '24h'")
    microseconds = round(float(match[1]) * UNITS_US[match[2]])
    if microseconds <= 0:
        raise ValueError(f"{text!r} must be longer than zero")
    return microseconds


def format_duration(microseconds: int) -> str:
    """The shortest text that ``parse_duration`` reads back.

    >>> format_duration(1_800_000_000)
    '30min'
    """
    for unit in ("d", "h", "min", "s", "ms"):
        if microseconds and microseconds % UNITS_US[unit] == 0:
            return f"{microseconds // UNITS_US[unit]}{unit}"
    return f"{microseconds}us"
