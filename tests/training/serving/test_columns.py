"""Ids and times of requests, from whatever JSON and pandas make of them."""

from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from training.errors import RequestError
from training.serving.columns import integers, micros, texts

DAY = 1_512_288_000_000_000  # 2017-12-03T08:00:00Z


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        (["a", " b ", "", "  ", None], ["a", "b", None, None, None]),
        ([1, -2, 2**63 - 1], ["1", "-2", str(2**63 - 1)]),
        ([2**63 + 1], [str(2**63 + 1)]),
        (pd.array([1, None], "Int64"), ["1", None]),
        ([12345678901234567890123, 1], ["12345678901234567890123", "1"]),
        ([1.0, float("nan"), 2.0], ["1", None, "2"]),
        (["a", 1, 2.0, None], ["a", "1", "2", None]),
        ([np.int32(3), np.float64(4)], ["3", "4"]),
        ([None, None], [None, None]),
        (["ключ", "鍵 1"], ["ключ", "鍵 1"]),
    ],
)
def test_ids_are_text(given: Any, ids: list[str | None]) -> None:
    assert texts(pd.Series(given), "item_id").to_pylist() == ids


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a", True], r"row 1: item_id is True \(bool\); give text or a whole number"),
        ([False, False], r"row 0: item_id is False \(bool\)"),
        ([1.0, 1.5], r"row 1: item_id is 1.5 \(float\)"),
        ([1, 2.0**53], r"row 1: item_id is 9007199254740992.0 \(float\)"),
        (["a", float("inf")], r"row 1: item_id is inf"),
        (["a", {"b": [1]}], r"row 1: item_id is {'b': \[1\]} \(dict\)"),
        ([["a"], "b"], r"row 0: item_id is \['a'\] \(list\)"),
        (["a", "\ud800"], r"row 1: item_id is '\\ud800', which UTF-8 cannot hold"),
        ([{"k": "x" * 500}], r"row 0: item_id is .{60} \(dict\)"),
    ],
)
def test_what_is_no_id_is_named(given: list[Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        texts(pd.Series(given), "item_id")


@pytest.mark.parametrize(
    ("given", "unit"),
    [
        (
            [
                "2017-12-03T08:00:00Z",
                "2017-12-03 08:00",
                "2017-12-03T09:00:00+01:00",
                " 2017-12-03 08:00:00 ",
            ],
            "iso",
        ),
        ([1_512_288_000], "s"),
        ([1_512_288_000.0, None], "s"),
        (["1512288000", "1.512288E9", "2017-12-03T08:00:00Z"], "s"),
        ([1_512_288_000_000], "ms"),
        (["1512288000000000"], "us"),
        ([datetime(2017, 12, 3, 8), pd.Timestamp("2017-12-03T17:00", tz="Asia/Tokyo"), None], "iso"),
        (pd.to_datetime(["2017-12-03T08:00", None]), "iso"),
        (pd.to_datetime(["2017-12-03T08:00Z", None]), "s"),
        (pd.to_datetime(["2017-12-03T10:00"]).tz_localize("Europe/Helsinki").as_unit("ms"), "iso"),
        ([1_512_288_000, "2017-12-03T08:00:00Z", datetime(2017, 12, 3, 8), None, float("nan")], "s"),
    ],
)
def test_times_are_microseconds_in_utc(given: Any, unit: str) -> None:
    found, there = micros(pd.Series(given), "ts", unit)
    assert there.tolist() == pd.Series(given).notna().tolist()
    assert set(found[there]) == {DAY} and not found[~there].any()


def test_fractions_of_a_second_are_kept_to_the_microsecond() -> None:
    assert micros(pd.Series([1.25, 1_512_288_000.000001]), "ts", "s")[0].tolist() == [1_250_000, DAY + 1]
    assert micros(pd.Series(["2017-12-03T08:00:00.000001999Z"]), "ts", "iso")[0].tolist() == [DAY + 1]
    assert micros(pd.Series([date(1970, 1, 2)]), "ts", "iso")[0].tolist() == [86_400_000_000]


@pytest.mark.parametrize(
    ("given", "unit", "message"),
    [
        ([5], "iso", "row 0: ts is the number 5, and its unit is not known; .* set the parameter ts_unit"),
        (
            ["2017-12-03", -5],
            "s",
            r"row 1: ts is -5 \(int\), which is no time from 1970 to 2262; .* a number of s",
        ),
        ([10**18], "s", "row 0: ts is 1000000000000000000"),
        ([1, 10**30], "s", "row 1: ts is 10+ "),
        ([2**63 + 1], "us", "row 0: ts is 9223372036854775809"),
        ([1e300], "ms", "row 0: ts is 1e[+]300"),
        ([float("-inf")], "ms", "row 0: ts is -inf"),
        ([True], "s", "row 0: ts is True"),
        (["1e400"], "s", "row 0: ts is '1e400'"),
        (["2017-12-03", "12:00"], "iso", "row 1: ts is '12:00'"),
        (["2017-12-03", "\ud800"], "iso", r"row 1: ts is '\\ud800'"),
        (["2017-13-45"], "iso", "row 0: ts is '2017-13-45'"),
        (["9999-01-01"], "iso", "row 0: ts is '9999-01-01'"),
        ([datetime(1969, 12, 31)], "iso", "row 0: ts is Timestamp"),
        ([{"a": 1}], "s", r"row 0: ts is {'a': 1} \(dict\)"),
        (["yesterday"], "s", "row 0: ts is 'yesterday'"),
        ([None, "2017-12-03", ["2017-12-03"]], "iso", "row 2: ts is"),
    ],
)
def test_what_is_no_time_is_named(given: list[Any], unit: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        micros(pd.Series(given), "ts", unit)


def test_whole_numbers() -> None:
    assert integers(pd.Series([1, None, 3.0, np.int64(4)]), "sequence").to_pylist() == [1, None, 3, 4]
    for wrong in ("1", 1.5, True, 2**63, [1]):
        with pytest.raises(RequestError, match="row 1: sequence is"):
            integers(pd.Series([1, wrong], dtype=object), "sequence")


def test_a_column_is_not_changed() -> None:
    column = pd.Series(["a", 1, 2.0, None])
    before = column.copy()
    texts(column, "item_id")
    pd.testing.assert_series_equal(column, before)
