"""Numbers as people read them, always with their unit."""

from datetime import datetime
from typing import Final

STEPS: Final = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"))
SIZES: Final = ("B", "kB", "MB", "GB", "TB", "PB")


def count(number: float) -> str:
    """A whole number with thousands apart.

    >>> count(1234567)
    '1,234,567'
    """
    return f"{round(number):,}"


def share(part: float, whole: float | None = None, digits: int = 1) -> str:
    """A share as a percentage (no line breaks inside); of nothing it is a dash.

    >>> share(1, 8), share(1, 0), share(1, 100_000)
    ('12.5\\u202f%', '–', '<\\u202f0.1\\u202f%')
    """
    if whole == 0:
        return "–"
    value = 100 * (part if whole is None else part / whole)
    least = 10**-digits
    said = f"<\u202f{least:g}" if 0 < value < least else f"{value:.{digits}f}"
    return f"{said}\u202f%"


def number(value: float, digits: int = 2) -> str:
    """A plain number with a fixed number of decimals.

    >>> number(0.12345, 3)
    '0.123'
    """
    return f"{value:,.{digits}f}"


def several(number: float, word: str) -> str:
    """A count with its noun.

    >>> several(1, "row"), several(2000, "row")
    ('1 row', '2,000 rows')
    """
    return f"{count(number)} {word}" + ("" if round(number) == 1 else "s")


def duration(seconds: float, digits: int = 3) -> str:
    """Seconds in the unit that reads best, with so many digits that count.

    >>> duration(0.25), duration(1), duration(90), duration(86_400 * 3), duration(100, 2)
    ('250 ms', '1 s', '1.5 min', '3 d', '1.7 min')
    """
    if seconds == 0:
        return "0 s"
    for size, unit in STEPS:
        if abs(seconds) >= size:
            return f"{float(f'{seconds / size:.{digits}g}'):g} {unit}"
    return f"{seconds * 1000:.2g} ms"


def size(amount: float) -> str:
    """Bytes in powers of 1,000.

    >>> size(999), size(1_500_000)
    ('999 B', '1.5 MB')
    """
    for unit in SIZES[:-1]:
        if abs(amount) < 999.5:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} {SIZES[-1]}"


def instant(moment: datetime) -> str:
    """A UTC time to the second.

    >>> instant(datetime(2026, 1, 2, 3, 4, 5))
    '2026-01-02 03:04:05 UTC'
    """
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
