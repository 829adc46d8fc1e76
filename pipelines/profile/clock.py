"""Times of an unknown column: their unit, their resolution, and the window that holds nearly all of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pandas as pd

from features.durations import UNITS_US

_EARLIEST_S: Final = 946_684_800  # 2000-01-01
_LATEST_S: Final = 2_208_988_800  # 2040-01-01
_PER_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_ISO: Final = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}([T ]\d{1,2}:\d{2}(:\d{2}(\.\d{1,9})?)?)?\s*(Z|UTC|[+-]\d{2}:?\d{2})?"
)
_OTHER_DATE: Final = re.compile(r"\d{1,2}[/.]\d{1,2}[/.]\d{2,4}.*|\d{4}/\d{1,2}/\d{1,2}.*")
_RESOLUTIONS: Final = ("d", "h", "min", "s", "ms", "us")


@dataclass(frozen=True)
class TimeGuess:
    """A reading of a column as times: ``unit`` is s, ms, us, ns, iso or other; ``share`` fits it."""

    unit: str
    share: float


@dataclass(frozen=True)
class WindowGuess:
    """Accepted times ``start`` ≤ ts < ``end`` (µs) and how many of the sample lie before and after."""

    start: int
    end: int
    before: int
    after: int


def looks_like_time(text: str) -> bool:
    """A text is a date or a time, in ISO form or another."""
    return bool(_ISO.fullmatch(text.strip()) or _OTHER_DATE.fullmatch(text.strip()))


def guess_time(column: pd.Series[Any]) -> TimeGuess | None:
    """The unit under which most of a column's values are times from 2000 to 2040, if there is one."""
    known = column.dropna()
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return TimeGuess("iso", len(known) / max(1, len(column)))
    if not len(known):
        return None
    numbers = pd.to_numeric(known, errors="coerce").to_numpy(dtype=float)
    if np.isfinite(numbers).mean() >= 0.9:
        shares = {
            unit: float(np.mean((numbers >= _EARLIEST_S * per) & (numbers < _LATEST_S * per)))
            for unit, per in _PER_SECOND.items()
        }
        unit = max(shares, key=lambda name: shares[name])
        return TimeGuess(unit, shares[unit]) if shares[unit] >= 0.9 else None
    probe = known.astype(str).iloc[:: max(1, len(known) // 2_000)].str.strip()
    iso = float(probe.map(lambda text: _ISO.fullmatch(text) is not None).mean())
    if iso >= 0.9:
        return TimeGuess("iso", iso)
    other = float(probe.map(lambda text: _OTHER_DATE.fullmatch(text) is not None).mean())
    return TimeGuess("other", other) if other >= 0.9 else None


def to_microseconds(column: pd.Series[Any], unit: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """``(µs int64, readable bool)`` of a column; unreadable values have 0."""
    if unit == "iso":
        times = column
        if not pd.api.types.is_datetime64_any_dtype(column.dtype):
            text = column.astype("string").str.strip().str.replace(r"\s*UTC$", "Z", regex=True)
            times = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
        readable = times.notna().to_numpy(dtype=bool)
        naive = times.dt.tz_convert("UTC").dt.tz_localize(None) if times.dt.tz is not None else times
        values = naive.to_numpy(dtype="datetime64[us]").astype(np.int64)
        return np.where(readable, values, 0), readable
    numbers = pd.to_numeric(column, errors="coerce")
    # values beyond ±9e18 µs would wrap around
    readable = np.isfinite(numbers.to_numpy(dtype=float)) & (np.abs(numbers.to_numpy(dtype=float)) < 9e15)
    if pd.api.types.is_integer_dtype(numbers.dtype):
        whole = np.where(readable, numbers.to_numpy(), 0).astype(np.int64)
    else:
        whole = np.where(readable, numbers.to_numpy(dtype=float), 0.0)
    scaled = whole * (1_000_000 // _PER_SECOND[unit])
    readable &= np.abs(scaled.astype(float)) < 9e18
    return np.where(readable, scaled, 0).astype(np.int64), readable


def resolution(ts: np.ndarray[Any, Any]) -> str:
    """The coarsest unit (d, h, min, s, ms, us) on whose grid at least 99.9 % of the times lie.

    The grid may be shifted (days that start in another time zone).
    """
    for unit in _RESOLUTIONS:
        rest = ts % UNITS_US[unit]
        _, counts = np.unique(rest, return_counts=True)
        if counts.max() >= 0.999 * len(ts):
            return unit
    return "us"


def guess_window(ts: np.ndarray[Any, Any], max_outside: float = 0.01) -> WindowGuess | None:
    """The window of the bulk of the times, where a few lie far outside; None where none do.

    An end of the data is cut at the first hour (day, where hours are thin) with at least 5 % of the
    typical one's events, and only if something lies more than a day beyond it: a quiet night or a day that
    has just begun is no outlier (our choice).
    """
    for unit in ("h", "d"):
        width, day = UNITS_US[unit], UNITS_US["d"]
        bins, counts = np.unique(ts // width, return_counts=True)
        # the size of the bin that the median event lies in: many bins of one outlier must not count
        order = np.argsort(counts)
        typical = counts[order][np.searchsorted(np.cumsum(counts[order]), len(ts) / 2)]
        if typical < 40:
            continue
        full = counts >= 0.05 * typical
        # a default such as 1970 may fill one bin: parts a month away must hold more than outliers may
        part = np.cumsum(np.r_[False, np.diff(bins[full]) > 30 * day // width])
        bulk = bins[full][np.bincount(part, counts[full])[part] > max_outside * len(ts)]
        start, end = int(bulk[0]) * width, (int(bulk[-1]) + 1) * width
        start = start if ts.min() < start - day else int(bins[0]) * width
        end = end if ts.max() >= end + day else (int(bins[-1]) + 1) * width
        before, after = int((ts < start).sum()), int((ts >= end).sum())
        if 0 < before + after <= max_outside * len(ts):
            return WindowGuess(start, end, before, after)
        return None
    return None


def iso(microseconds: int) -> str:
    """``2017-11-24T16:00:00Z`` of µs since 1970; fractions only where there are any.

    >>> iso(1_511_539_200_000_000)
    '2017-11-24T16:00:00Z'
    """
    try:
        moment = datetime.fromtimestamp(microseconds // 1_000_000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{microseconds} µs"
    fraction = f".{microseconds % 1_000_000:06d}".rstrip("0") if microseconds % 1_000_000 else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"
