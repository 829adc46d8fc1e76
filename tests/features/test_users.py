"""Flags of bots and very heavy users: the rule by example, the fold against an oracle."""

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.durations import parse_duration
from features.sessions import SessionRule, sessionize
from features.users import UserRows, UserRule, reasons, summarise_users, user_rows
from tests.oracles.sessions import session_ordinals, user_flags
from tests.strategies import GAP_RULE, GAP_US, MAX_US, Row, cut, cut_points, encoded, event_rows

RULE = UserRule()
SECOND = 1_000_000
SMALL = UserRule(max_events=5, fast_gap_us=SECOND, fast_gaps=2, pause_us=GAP_US, awake_us=MAX_US)
"""Limits that random histories of a dozen events reach."""


def flags(times: list[int], rule: UserRule = RULE, block_events: int = 65_536) -> list[str]:
    """Reasons of one user with events at those times (µs)."""
    rows: list[Row] = [("a", f"e{n}", ts, 2, 1, 2, 1, None) for n, ts in enumerate(times)]
    parts = list(user_rows(sessionize([encoded(rows)], SessionRule(), block_events), rule))
    (reason,) = np.concatenate([part.reason for part in parts])
    return reasons(reason)


def steady(n: int, step: int) -> list[int]:
    return list(range(0, n * step, step))


def test_an_ordinary_user_is_not_flagged() -> None:
    """100 clicks a minute apart."""
    assert flags(steady(100, 60 * SECOND)) == []


def test_more_events_than_the_limit_is_heavy() -> None:
    """Exactly the limit is not; one more is; heavy alone is no bot."""
    rule = UserRule(max_events=100)
    assert flags(steady(100, 60 * SECOND), rule) == []
    assert flags(steady(101, 60 * SECOND), rule) == ["heavy"]


def test_median_gap_of_a_second_is_fast() -> None:
    """200 gaps of one second are; 199 are too few to tell; a microsecond slower is not."""
    assert flags(steady(201, SECOND)) == ["fast"]
    assert flags(steady(200, SECOND)) == []
    assert flags(steady(201, SECOND + 1)) == []


def test_fast_is_decided_by_the_median() -> None:
    """Half of the gaps fast: a bot that sleeps; one fast gap fewer: not."""
    half = np.cumsum([0, *[SECOND, 60 * SECOND] * 100])
    assert flags(half.tolist()) == ["fast"]
    assert flags(np.append(half, half[-1] + 60 * SECOND).tolist()) == []


def test_equal_times_are_no_speed() -> None:
    """A basket of 50 goods at one moment, once a day, is a household."""
    assert flags([day * parse_duration("1d") for day in range(30) for _ in range(50)]) == []


def test_a_day_without_a_pause_is_sleepless() -> None:
    """One event every 30 minutes: 24 h are possible, 30 minutes more are not; a longer pause is sleep."""
    half_hour = parse_duration("30min")
    assert flags(steady(49, half_hour)) == []
    assert flags(steady(50, half_hour)) == ["sleepless"]
    assert flags([*steady(40, half_hour), *(ts + 41 * half_hour for ts in steady(40, half_hour))]) == []


def test_sleepless_is_seen_across_blocks() -> None:
    """The state carries the stretch: blocks of ten events see what one block sees."""
    assert flags(steady(100, parse_duration("20min")), block_events=10) == ["sleepless"]


def test_a_bot_that_sleeps_afterwards_remains_one() -> None:
    """A verdict of an earlier block survives a pause and ordinary later blocks."""
    times = steady(100, parse_duration("20min"))
    later = times[-1] + parse_duration("10d")
    assert flags([*times, later, later + SECOND], block_events=10) == ["sleepless"]


def test_without_a_clock_only_heavy_is_decided() -> None:
    """Times that are row numbers must not make everybody a bot."""
    assert flags(steady(300, 1)) == ["fast"]
    assert flags(steady(300, 1), UserRule(max_events=200, has_clock=False)) == ["heavy"]


def test_rows_say_what_a_user_amounts_to() -> None:
    """Two users in one block; the flags as columns."""
    rows: list[Row] = [("a", "1", 5, 2, 1, 2, 1, None), ("a", "2", 9 * GAP_US, 2, 1, 2, 1, None)]
    rows += [("b", str(n), n * SECOND, 2, 1, 2, 1, None) for n in range(201)]
    (out,) = user_rows(sessionize([encoded(rows)], SessionRule()), UserRule(max_events=200))
    assert out.user_ids == ["a", "b"]
    assert out.n_events.tolist() == [2, 201]
    assert out.n_sessions.tolist() == [2, 1]
    assert out.first_ts.tolist() == [5, 0]
    assert out.last_ts.tolist() == [9 * GAP_US, 200 * SECOND]
    assert out.is_heavy.tolist() == [False, True]
    assert out.is_bot.tolist() == [False, True]


def test_a_lost_state_is_noticed() -> None:
    """A continued block without the state of the block before would give wrong rows."""
    rows: list[Row] = [("a", str(n), n * 2 * GAP_US, 2, 1, 2, 1, None) for n in range(3)]
    first, second, _ = sessionize([encoded(rows)], SessionRule(), block_events=1)
    _, state = summarise_users(None, first, RULE)
    with pytest.raises(ValueError, match="no state is given of the first user"):
        summarise_users(None, second, RULE)
    other: list[Row] = [("b", "0", 0, 2, 1, 2, 1, None)]
    (stranger,) = sessionize([encoded(other)], SessionRule())
    with pytest.raises(ValueError, match="the state is of 'a', but the block begins with user 'b'"):
        summarise_users(state, stranger, RULE)


def test_limits_below_one_are_refused() -> None:
    """By name."""
    with pytest.raises(ValueError, match="fast_gaps = 0"):
        UserRule(fast_gaps=0)


@given(event_rows(), cut_points(), st.integers(1, 40))
def test_rows_equal_the_oracle_for_any_batches_and_blocks(
    rows: list[Row], points: list[int], block_events: int
) -> None:
    """One row a user, whatever the fold's cuts."""
    blocks = sessionize(cut(encoded(rows), points), GAP_RULE, block_events)
    got = [row for part in user_rows(blocks, SMALL) for row in plain(part)]
    sessions = iter(session_ordinals(rows, GAP_RULE))
    expected = []
    for user, group in groupby(rows, key=lambda row: row[0]):
        times = [row[2] for row in group]
        n_sessions = [next(sessions)[1] for _ in times][-1]
        expected.append((user, len(times), n_sessions, times[0], times[-1], user_flags(times, SMALL)))
    assert got == expected


def plain(part: UserRows) -> list[tuple[object, ...]]:
    arrays = (part.n_events, part.n_sessions, part.first_ts, part.last_ts)
    columns = [part.user_ids, *(array.tolist() for array in arrays), map(reasons, part.reason.tolist())]
    return list(zip(*columns, strict=True))
