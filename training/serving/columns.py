"""Columns of a request as typed arrays: ids are text, times µs. What is neither is named by field and row.

Rows count from 0, as in a JSON array. Columns of one type take no loop over their values; mixed ones, which
JSON allows, take one.
"""

from datetime import date, datetime
from math import isnan
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.instants import ISO_DAY, UNIT_US
from training.errors import RequestError

EXACT_FLOAT: Final = 2.0**53
"""Whole numbers below it are what they were before pandas made floats of them."""

SHOWN: Final = 60
"""Characters of a value that an error shows."""

_NUMBER: Final = r"^[+-]?\d+(\.\d*)?([eE][+-]?\d{1,3})?$"
_ZONE: Final = r"[T ].*(?:[Zz]|[+-]\d{2}(?::?\d{2})?)$"
_LAST_INT64: Final = 2**63 - 1
_NO_TIME: Final = -1
_LAST_US: Final = pd.Timestamp.max.value // 1_000

Micros = NDArray[np.int64]
Column: TypeAlias = "pd.Series[Any]"


def texts(column: Column, name: str) -> pa.StringArray:
    """Ids as text less the blanks around it; null where missing or blank.

    Text, whole numbers, and floats that hold whole numbers (pandas' integers with gaps) are ids, as they are
    in the batch job's sources. RequestError for anything else.
    """
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind == "integer" and pd.api.types.is_integer_dtype(column.dtype):
        return pa.array(column.to_numpy(dtype=np.int64)).cast(pa.string())
    values = column.to_numpy(dtype=object)
    if kind not in ("string", "empty"):
        values = np.array([_text(value, name, row) for row, value in enumerate(values)], dtype=object)
    trimmed = pc.utf8_trim(_encoded(values, name), " ")
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)


def integers(column: Column, name: str) -> pa.Int64Array:
    """Whole numbers, null where missing; RequestError for anything else."""
    found = [_integer(value, name, row) for row, value in enumerate(column.to_numpy(dtype=object))]
    return pa.array(found, pa.int64())


def micros(column: Column, name: str, unit: str) -> tuple[Micros, NDArray[np.bool_]]:
    """Times in µs, and whether each is there; both (rows,).

    Text is ISO 8601, in UTC where it names no zone. Numbers, as text too, are in ``unit`` (s, ms or us);
    where that is iso there must be none. RequestError for what is no time from 1970 to 2262.
    """
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        kind = np.where(column.isna(), "none", "time")
    elif pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        kind = np.where(column.isna(), "none", "number")
    elif pd.api.types.infer_dtype(column, skipna=False) == "string":
        kind = np.full(len(column), "text")
    else:
        kind = np.array([_kind(value) for value in column.to_numpy(dtype=object)])
    found = np.full(len(column), _NO_TIME)
    for name_of_kind, read in (("text", _of_texts), ("number", _of_numbers), ("time", _of_datetimes)):
        own = kind == name_of_kind
        if own.all():  # the rule, and no copy
            found = read(column, unit)
        elif own.any():
            found[own] = read(column[own].infer_objects(), unit)
    there = kind != "none"
    wrong = np.flatnonzero(there & ((found < 0) | (found > _LAST_US)))
    if len(wrong):
        raise _no_time(int(wrong[0]), column.iloc[wrong[0]], name, unit)
    return np.where(there, found, 0), there


def shown(value: Any) -> str:
    """A value as an error tells it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def is_missing(value: Any) -> bool:
    """Whether a cell is None, NaN, NaT or NA."""
    return value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and isnan(value))


def _text(value: Any, name: str, row: int) -> str | None:
    if isinstance(value, str):
        return value
    if is_missing(value):
        return None
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(value)
    if (
        isinstance(value, float | np.floating)
        and float(value).is_integer()
        and abs(float(value)) < EXACT_FLOAT
    ):
        return str(int(value))
    raise RequestError(
        f"row {row}: {name} is {shown(value)} ({type(value).__name__}); give text or a whole number"
    )


def _integer(value: Any, name: str, row: int) -> int | None:
    if is_missing(value):
        return None
    text = None if isinstance(value, str) else _text(value, name, row)
    if text is None or abs(int(text)) > _LAST_INT64:
        raise RequestError(f"row {row}: {name} is {shown(value)}; give a whole number of 64 bits")
    return int(text)


def _encoded(values: NDArray[Any], name: str) -> pa.StringArray:
    try:
        return pa.array(values, pa.string(), from_pandas=True)
    except UnicodeEncodeError as error:
        row = next(row for row, value in enumerate(values) if value == error.object)
        raise RequestError(
            f"row {row}: {name} is {shown(values[row])}, which UTF-8 cannot hold; mend its encoding"
        ) from None


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if is_missing(value):
        return "none"
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        return "number"
    return "time" if isinstance(value, datetime | date | np.datetime64) else "other"


def _of_texts(column: Column, unit: str) -> Micros:
    given = column.to_numpy(dtype=object)
    try:
        encoded = pa.array(given, pa.string())
    except UnicodeEncodeError:  # half characters: no time, as the placeholder that takes their place
        encoded = pa.array([value.encode(errors="replace").decode() for value in given], pa.string())
    text = pc.utf8_trim(encoded, " ")
    iso, zoned, number = (
        pc.match_substring_regex(text, pattern).to_numpy(zero_copy_only=False)
        for pattern in (ISO_DAY, _ZONE, _NUMBER)
    )
    found, values = np.full(len(text), _NO_TIME), text.to_numpy(zero_copy_only=False)
    for own in (iso & zoned, iso & ~zoned):  # apart: pandas gives a time without zone that of the one before
        if own.any():
            times = pd.to_datetime(values[own], utc=True, format="ISO8601", errors="coerce")
            found[own] = _of_datetimes(pd.Series(times), unit)
    if unit != "iso" and number.any():
        found[number] = _of_numbers(pd.to_numeric(pd.Series(values[number]), errors="coerce"), unit)
    return found


def _of_numbers(column: Column, unit: str) -> Micros:
    if unit == "iso":
        return np.full(len(column), _NO_TIME)
    factor = UNIT_US[unit]
    if pd.api.types.is_integer_dtype(column.dtype):
        whole = column.to_numpy(dtype=np.int64, na_value=_NO_TIME) if column.dtype != np.uint64 else None
        if whole is not None:
            inside = (whole >= 0) & (whole <= _LAST_US // factor)
            return np.where(inside, np.where(inside, whole, 0) * factor, _NO_TIME)
    wide = column.to_numpy(dtype=np.float64, na_value=np.nan)
    inside = (wide >= 0) & (wide <= _LAST_US / factor)
    return np.where(inside, np.rint(np.where(inside, wide, 0.0) * factor).astype(np.int64), _NO_TIME)


def _of_datetimes(column: Column, unit: str) -> Micros:
    times = pd.DatetimeIndex(pd.to_datetime(column, utc=True, errors="coerce")).tz_localize(None)
    return times.as_unit("us").to_numpy().astype(np.int64)


def _no_time(row: int, value: Any, name: str, unit: str) -> RequestError:
    if unit == "iso" and _kind(value) == "number":
        return RequestError(
            f"row {row}: {name} is the number {shown(value)}, and its unit is not known; give ISO 8601 text, "
            "or set the parameter ts_unit to s, ms or us"
        )
    numbers = "" if unit == "iso" else f", or a number of {unit}"
    return RequestError(
        f"row {row}: {name} is {shown(value)} ({type(value).__name__}), which is no time from 1970 to 2262; "
        f"give ISO 8601 text such as 2017-12-03T08:00:00Z{numbers}"
    )
