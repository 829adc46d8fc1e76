"""Durations carry their unit and survive a round trip."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("1us", 1),
        ("250ms", 250_000),
        ("90s", 90_000_000),
        ("30min", 1_800_000_000),
        ("0.5h", 1_800_000_000),
        ("24h", 86_400_000_000),
        ("3d", 259_200_000_000),
        (" 5 min ", 300_000_000),
    ],
)
def test_parse(text: str, microseconds: int) -> None:
    assert parse_duration(text) == microseconds


@pytest.mark.parametrize(
    "text", ["30", "min", "", "-5min", "5 parsecs", "5m", "1h30min", "1e3s", "5MIN", "nan s"]
)
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration; write a number and a unit, such as '30min'"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "0.0h", "0.4us"])
def test_nothing_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="must be longer than zero"):
        parse_duration(text)


@given(st.integers(min_value=1, max_value=10**15))
def test_round_trip(microseconds: int) -> None:
    assert parse_duration(format_duration(microseconds)) == microseconds


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [(1, "1us"), (1_000, "1ms"), (1_001, "1001us"), (90_000_000, "90s"), (172_800_000_000, "2d")],
)
def test_format_takes_the_largest_whole_unit(microseconds: int, text: str) -> None:
    assert format_duration(microseconds) == text
