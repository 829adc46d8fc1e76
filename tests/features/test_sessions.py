"""The session rules as small examples, and the fold against an oracle on random tables."""

import hashlib
from collections.abc import Iterator
from itertools import groupby

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.block import EventBlock
from features.durations import parse_duration
from features.sessions import (
    SessionRule,
    opens_session,
    session_ids,
    sessionize,
    user_sessions,
)
from features.sessions import (
    session_ordinals as flat_ordinals,
)
from tests.oracles.sessions import session_ordinals
from tests.strategies import GAP_RULE, GAP_US, MAX_US, RULES, Row, cut, cut_points, encoded, event_rows

RULE = SessionRule()  # 30 minutes, 24 hours
MINUTE = 60_000_000


def events(user: str, *times: int, keys: str = "") -> list[Row]:
    """One user's rows at those times (µs); event ids number them; ``-`` is a missing key."""
    labels = [None if key == "-" else key for key in keys] or [None] * len(times)
    return [
        (user, f"{user}{number}", ts, number + 1, 1, 2, 1, key)
        for number, (ts, key) in enumerate(zip(times, labels, strict=True), start=1)
    ]


def sessions_of(rows: list[Row], rule: SessionRule) -> list[list[str]]:
    """Event ids by session, in order."""
    out: list[list[str]] = []
    for block in sessionize([encoded(rows)], rule):
        for ids in np.split(np.array(block.event_id.to_pylist()), block.session_starts()[1:]):
            out.append(ids.tolist())
    return out


def flat(blocks: list[EventBlock]) -> list[tuple[object, ...]]:
    """Every event of the blocks with all that was computed for it."""
    return [row for block in blocks for row in rows_of(block)]


def rows_of(block: EventBlock) -> Iterator[tuple[object, ...]]:
    owner = np.repeat(np.array(block.user_ids, dtype=object), np.diff(block.offsets))
    columns = (block.ts, block.item, block.category, block.type, block.mode, block.ordinal, block.session)
    return zip(owner, block.event_id.to_pylist(), *(column.tolist() for column in columns), strict=True)


# --- The rules, by example ---------------------------------------------------------------------------


def test_gap_equal_to_the_limit_does_not_cut() -> None:
    """30 min apart: one session. One microsecond more: two."""
    limit = parse_duration("30min")
    assert sessions_of(events("a", 0, limit), RULE) == [["a1", "a2"]]
    assert sessions_of(events("a", 0, limit + 1), RULE) == [["a1"], ["a2"]]


def test_cap_counts_from_the_first_event_and_includes_its_end() -> None:
    """An event exactly 24 h after the session's first one still belongs to it; the next does not."""
    day = parse_duration("24h")
    rows = events("a", *range(0, day + 1, 30 * MINUTE), day + 1)
    assert [len(session) for session in sessions_of(rows, RULE)] == [49, 1]


def test_gap_is_read_across_batches() -> None:
    """A pause that falls between two batches cuts as it does inside one."""
    limit = parse_duration("30min")
    for pause, sessions in ((limit, [1, 1]), (limit + 1, [1, 2])):
        (block,) = sessionize(cut(encoded(events("a", 0, pause)), [1]), RULE)
        assert block.session.tolist() == sessions


def test_cap_is_greedy() -> None:
    """Each cut starts the clock anew, so a steady stream is cut every ``max``, not once."""
    rule = SessionRule(gap_us=4, max_us=10)
    rows = events("a", 0, 4, 8, 11, 15, 19, 22, 26, 30)
    assert sessions_of(rows, rule) == [["a1", "a2", "a3"], ["a4", "a5", "a6"], ["a7", "a8", "a9"]]


def test_cap_restarts_after_a_gap() -> None:
    """The clock of the cap starts at the session, not at the end of the last capped one."""
    rule = SessionRule(gap_us=4, max_us=10)
    assert sessions_of(events("a", 0, 4, 8, 13, 17, 21, 24), rule) == [
        ["a1", "a2", "a3"],
        ["a4", "a5", "a6"],
        ["a7"],
    ]


@pytest.mark.parametrize("points", [[], [1], [2], [4], [1, 2, 3, 4, 5]])
def test_cap_is_carried_from_batch_to_batch(points: list[int]) -> None:
    """The clock of an open session runs on where a batch ends, however often."""
    batch = encoded(events("a", 0, 4, 8, 11, 15, 19))
    (block,) = sessionize(cut(batch, points), SessionRule(gap_us=4, max_us=10))
    assert block.session.tolist() == [1, 1, 1, 2, 2, 2]


def test_ties_in_time_stay_together() -> None:
    """Equal timestamps are never cut by the gap or the cap, and keep their order."""
    rule = SessionRule(gap_us=4, max_us=10)
    assert sessions_of(events("a", 7, 7, 7, 12, 12), rule) == [["a1", "a2", "a3"], ["a4", "a5"]]


def test_one_event_sessions_and_one_event_users() -> None:
    """A single event is a session; ordinals start at 1 for every user."""
    rows = events("a", 0) + events("b", 0, 99 * MINUTE) + events("c", 0)
    (block,) = sessionize([encoded(rows)], RULE)
    assert block.user_ids == ["a", "b", "c"]
    assert block.offsets.tolist() == [0, 1, 3, 4]
    assert block.session.tolist() == [1, 1, 2, 1]
    assert block.ordinal.tolist() == [1, 1, 2, 1]
    assert block.session_starts().tolist() == [0, 1, 2, 3]


def test_a_user_always_starts_a_session() -> None:
    """The next user's first event cuts, however close in time it is."""
    assert sessions_of(events("a", 5) + events("b", 5), RULE) == [["a1"], ["b1"]]


def test_every_n_ignores_time() -> None:
    """The fallback without a clock: every two events, and the rest."""
    rule = SessionRule("every_n", every_n=2)
    rows = events("a", 0, 0, 99 * MINUTE, 9999 * MINUTE, 9999 * MINUTE) + events("b", 0, 0)
    assert sessions_of(rows, rule) == [["a1", "a2"], ["a3", "a4"], ["a5"], ["b1", "b2"]]


def test_source_key_cuts_where_the_key_changes() -> None:
    """A key that comes back is a new session; events without a key form runs of their own."""
    rows = events("a", 0, 0, 1, 99 * MINUTE, 100 * MINUTE, 101 * MINUTE, keys="xxy--x")
    assert sessions_of(rows, SessionRule("source_key")) == [["a1", "a2"], ["a3"], ["a4", "a5"], ["a6"]]


def test_source_key_is_read_within_a_user_only() -> None:
    """Two users with the same key don't share a session."""
    rows = events("a", 0, keys="x") + events("b", 0, keys="x")
    assert sessions_of(rows, SessionRule("source_key")) == [["a1"], ["b1"]]


def test_session_id_is_the_hash_of_user_and_first_event() -> None:
    """Later events and other users leave it as it is; it equals Spark's md5(concat_ws)."""
    (block,) = sessionize([encoded(events("a", 0, 1, 99 * MINUTE))], RULE)
    assert session_ids(block) == [hashlib.md5(b"a\x1fa1").hexdigest(), hashlib.md5(b"a\x1fa3").hexdigest()]
    (more,) = sessionize([encoded(events("a", 0, 1, 99 * MINUTE, 100 * MINUTE) + events("b", 0))], RULE)
    assert session_ids(more)[:2] == session_ids(block)


# --- Blocks ------------------------------------------------------------------------------------------


def blocks_of(rows: list[Row], block_events: int) -> list[tuple[list[str], list[int], bool, bool]]:
    return [
        (block.user_ids, block.ordinal.tolist(), block.continued, block.unfinished)
        for block in sessionize([encoded(rows)], RULE, block_events)
    ]


def test_users_that_fit_are_whole() -> None:
    """A block takes the next user only if all of it fits."""
    rows = events("a", 0, 1) + events("b", 0, 1) + events("c", 0, 1, 2)
    assert blocks_of(rows, 4) == [
        (["a", "b"], [1, 2, 1, 2], False, False),
        (["c"], [1, 2, 3], False, False),
    ]


def test_heavy_user_is_cut_between_sessions() -> None:
    """Five events, sessions of 2, 1 and 2, blocks of 3: cut after the third; the next user follows."""
    far = 99 * MINUTE
    rows = events("a", 0, 1, far, 2 * far, 2 * far) + events("b", 0)
    assert blocks_of(rows, 3) == [
        (["a"], [1, 2, 3], False, True),
        (["a", "b"], [4, 5, 1], True, False),
    ]


def test_session_longer_than_a_block_is_a_block_of_its_own() -> None:
    """Sessions are never cut, so the block grows to four events."""
    far = 99 * MINUTE
    rows = events("a", 0, far, far, far, far, 2 * far)
    assert blocks_of(rows, 2) == [
        (["a"], [1], False, True),
        (["a"], [2, 3, 4, 5], True, True),
        (["a"], [6], True, False),
    ]


def test_blocks_leave_as_soon_as_they_are_known() -> None:
    """The fold holds a block and a batch, never the stream: the first block needs three of 100 batches."""
    batch = encoded([row for number in range(300) for row in events(f"u{number:03}", 0)])
    read = 0

    def stream() -> Iterator[pa.RecordBatch]:
        nonlocal read
        for start in range(0, 300, 3):
            read += 1
            yield batch.slice(start, 3)

    assert next(sessionize(stream(), RULE, block_events=6)).size == 6
    assert read == 3


def test_empty_stream_and_empty_batches_give_no_block() -> None:
    """No rows, no blocks."""
    assert list(sessionize([], RULE)) == []
    assert list(sessionize([encoded([])], RULE)) == []


# --- Refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("points", [[], [1]])
def test_unsorted_events_are_refused_by_name(points: list[int]) -> None:
    """Also where the two events lie in different batches."""
    batch = encoded(events("a", 5, 4))
    with pytest.raises(ValueError, match=r"user 'a', event 'a2': ts 4 .* sort by user_id and ts"):
        list(sessionize(cut(batch, points), RULE))
    with pytest.raises(ValueError, match="ts decreases"):
        user_sessions(np.array([5, 4]), RULE)


@pytest.mark.parametrize("name", ["user_id", "event_id", "ts", "item", "mode"])
def test_nulls_are_refused_by_column(name: str) -> None:
    """Only session_key may be missing."""
    batch = encoded(events("a", 0, 1))
    at = batch.schema.get_field_index(name)
    columns = [pa.nulls(2, column.type) if i == at else column for i, column in enumerate(batch.columns)]
    with pytest.raises(ValueError, match=f"column {name} holds nulls"):
        list(sessionize([pa.RecordBatch.from_arrays(columns, schema=batch.schema)], RULE))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "day"}, "session rule 'day' is unknown"),
        ({"gap_us": 0}, "above 0"),
        ({"gap_us": 2, "max_us": 1}, "at most the session maximum"),
        ({"kind": "every_n"}, "at least 1 event"),
    ],
)
def test_contradictory_rules_are_refused(settings: dict[str, object], message: str) -> None:
    """A rule that cannot mean anything does not come to exist."""
    with pytest.raises(ValueError, match=message):
        SessionRule(**settings)  # type: ignore[arg-type]


def test_block_size_must_hold_an_event() -> None:
    """Zero events a block would never end."""
    with pytest.raises(ValueError, match="block_events = 0"):
        list(sessionize([encoded(events("a", 0))], RULE, block_events=0))


def test_serving_by_source_key_needs_the_keys() -> None:
    """Without them every event would silently share one session."""
    with pytest.raises(ValueError, match="needs the events' session_key"):
        user_sessions(np.array([0]), SessionRule("source_key"))


# --- Universal rules ---------------------------------------------------------------------------------


@given(event_rows(), st.sampled_from(RULES), cut_points(), st.integers(1, 40))
def test_fold_equals_oracle_for_any_batches_and_blocks(
    rows: list[Row], rule: SessionRule, points: list[int], block_events: int
) -> None:
    """Ordinals and sessions are the oracle's, and every input value comes out beside them."""
    blocks = list(sessionize(cut(encoded(rows), points), rule, block_events))
    assert flat(blocks) == [
        (*row[:7], *ordinals) for row, ordinals in zip(rows, session_ordinals(rows, rule), strict=True)
    ]


@given(event_rows(), st.sampled_from(RULES), cut_points(), st.integers(1, 40))
def test_blocks_do_not_depend_on_the_batches(
    rows: list[Row], rule: SessionRule, points: list[int], block_events: int
) -> None:
    """Not only the events: where the blocks are cut is the same too."""
    whole = list(sessionize([encoded(rows)], rule, block_events))
    parts = list(sessionize(cut(encoded(rows), points), rule, block_events))
    assert [(flat([b]), b.continued, b.unfinished) for b in whole] == [
        (flat([b]), b.continued, b.unfinished) for b in parts
    ]


@given(event_rows(), st.sampled_from(RULES), st.integers(1, 40))
def test_blocks_hold_whole_sessions_and_whole_users(
    rows: list[Row], rule: SessionRule, block_events: int
) -> None:
    """No session in two blocks; a user in two blocks has more events than one block holds."""
    blocks = list(sessionize([encoded(rows)], rule, block_events))
    seen = [{(row[0], row[-1]) for row in rows_of(block)} for block in blocks]
    assert sum(map(len, seen)) == len(set().union(*seen))
    sizes = {user: len(list(group)) for user, group in groupby(rows, key=lambda row: row[0])}
    for i, block in enumerate(blocks):
        assert block.offsets[0] == 0
        assert block.offsets[-1] == block.size
        assert block.size <= block_events or len(seen[i]) == 1
        assert block.continued == (i > 0 and blocks[i - 1].unfinished)
        follows = blocks[i + 1].user_ids[0] if i + 1 < len(blocks) else None
        assert block.unfinished == (block.user_ids[-1] == follows)
        if block.unfinished:
            assert sizes[block.user_ids[-1]] > block_events


@given(event_rows(), st.sampled_from(RULES))
def test_serving_cuts_as_the_build_does(rows: list[Row], rule: SessionRule) -> None:
    """One user's arrays give the ordinals that the fold gives."""
    expected = [session for _, session in session_ordinals(rows, rule)]
    got: list[int] = []
    for _, group in groupby(rows, key=lambda row: row[0]):
        history = list(group)
        ts = np.array([row[2] for row in history])
        got += user_sessions(ts, rule, pa.array([row[7] for row in history], pa.string())).tolist()
    assert got == expected


@given(event_rows(), st.sampled_from([rule for rule in RULES if rule.kind != "source_key"]))
def test_all_users_at_once_are_cut_as_one_by_one(rows: list[Row], rule: SessionRule) -> None:
    users = [row[0] for row in rows]
    begins = np.array([at == 0 or users[at - 1] != user for at, user in enumerate(users)], dtype=bool)
    got = flat_ordinals(np.array([row[2] for row in rows], dtype=np.int64), begins, rule)
    assert got.tolist() == [session for _, session in session_ordinals(rows, rule)]


def test_all_users_at_once_have_no_keys() -> None:
    with pytest.raises(ValueError, match="session_key"):
        flat_ordinals(np.array([0]), np.array([True]), SessionRule("source_key"))


@given(event_rows(), st.integers(0, 96))
def test_sessions_of_a_prefix_don_t_change_when_later_events_arrive(rows: list[Row], upto: int) -> None:
    """Point in time: what comes later moves no cut."""
    whole = flat(list(sessionize([encoded(rows)], GAP_RULE)))
    assert flat(list(sessionize([encoded(rows[:upto])], GAP_RULE))) == whole[:upto]


@given(event_rows())
def test_cut_sessions_keep_both_limits(rows: list[Row]) -> None:
    """Inside a session no gap exceeds the limit and no event lies beyond the cap."""
    for block in sessionize([encoded(rows)], GAP_RULE):
        for times in np.split(block.ts, block.session_starts()[1:]):
            assert times[-1] - times[0] <= MAX_US
            assert (np.diff(times) <= GAP_US).all()


@given(st.lists(st.integers(0, 3 * GAP_US), min_size=1, max_size=12), st.integers(0, 3 * GAP_US))
def test_the_next_event_opens_a_session_where_the_fold_would_cut(gaps: list[int], wait: int) -> None:
    ts = np.cumsum(gaps).astype(np.int64)
    at = int(ts[-1]) + wait
    for rule in (GAP_RULE, SessionRule("every_n", every_n=3)):
        session = user_sessions(ts, rule)
        start = ts[np.flatnonzero(session == session[-1])[0]]
        opens = opens_session(rule, at, ts[-1:], np.array([start]), np.array([len(ts)]))
        assert opens.tolist() == [user_sessions(np.append(ts, at), rule)[-1] > session[-1]]


def test_where_the_source_cuts_a_gap_opens_the_next_session() -> None:
    rule = SessionRule("source_key")
    one, day = np.array([1]), np.array([0])
    waits = (30 * MINUTE, 30 * MINUTE + 1)
    assert [bool(opens_session(rule, wait, day, day - 10**12, one)[0]) for wait in waits] == [False, True]


def test_a_rule_is_read_from_texts() -> None:
    assert SessionRule.parse("gap", "30min", "24h", None) == RULE
    assert SessionRule.parse("every_n", "1h", "2h", 5) == SessionRule("every_n", 60 * MINUTE, 120 * MINUTE, 5)
