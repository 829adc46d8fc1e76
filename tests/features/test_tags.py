"""Tagging a block: against the plain-Python oracle, for any cut, and each undecided rule."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.block import EventBlock
from features.hops import PAIRS, pair_name
from features.tags import FittedThemes, SessionRows, Tags, TagStates, sessions_arrow_schema, tag_block
from tests.features.fits import (
    CATEGORIES,
    CENTROIDS,
    IDS,
    ITEMS,
    NONE,
    OPPOSITE_A,
    UNSEEN_IN_2,
    A,
    B,
    C,
    fitted,
    random_fit,
)
from tests.features.histories import Event, History, block_of, cut
from tests.oracles import hops as oracle
from tests.oracles import themes as theme_oracle


def table_of(rows: SessionRows) -> pa.Table:
    names = pa.array([f"s{k}" for k in range(len(rows.start))])
    return pa.Table.from_batches([rows.to_batch(names)])


def tag(history: History, fit: FittedThemes | None = None) -> list[dict[str, Any]]:
    """Session rows of one user."""
    _, rows, _ = tag_block(block_of([history]), fit or fitted())
    found: list[dict[str, Any]] = table_of(rows).to_pylist()
    return found


def column(history: History, *names: str) -> list[Any]:
    rows = tag(history)
    found = [tuple(row[name] for name in names) for row in rows]
    return [values[0] for values in found] if len(names) == 1 else found


def test_a_session_row_in_full() -> None:
    row = tag([[A], [C, UNSEEN_IN_2, NONE, C, C]])[1]
    d = 1.0  # (3, 0.5, 0.25) against (1, 0, 0), in other axes
    assert row == {
        "session_id": "s1",
        "user_id": "u0",
        "ordinal": 2,
        "start_ts": row["start_ts"],
        "end_ts": row["end_ts"],
        "n_events": 5,
        "n_browse": 1,
        "n_intent": 2,
        "n_purchase": 1,
        "n_feedback": 1,
        "first_event_id": "e1",
        "theme_id": 7,
        "has_interest": True,
        "n_vectors_item": 3,
        "n_vectors_category": 1,
        "n_vectors_none": 1,
        "hop_distance": d,
        "hop_p": 1 / 301,
        "hop_score": 1 - 1 / 301,
        "is_hop": True,
        "is_return": False,
        "return_lag": None,
    }
    assert (row["start_ts"].timestamp(), row["end_ts"].timestamp()) == (1, 5)
    assert table_of(tag_block(block_of([[[A]]]), fitted())[1]).schema == sessions_arrow_schema()


def test_an_events_running_theme_may_differ_from_its_sessions_theme() -> None:
    tags, _, _ = tag_block(block_of([[[NONE, A, B, B], [C]]]), fitted())
    assert tags.theme_running.tolist() == [1, 2, 2, 3, 7]
    assert tags.theme_session.tolist() == [3, 3, 3, 3, 7]


def test_returns_and_their_lags() -> None:
    examples: list[tuple[str, History, list[bool | None], list[int | None]]] = [
        ("A B A comes back over one session", [[A], [B], [A]], [None, False, True], [None, None, 1]),
        ("A A stays", [[A], [A]], [None, False], [None, None]),
        ("new themes are no returns", [[A], [B], [C]], [None, False, False], [None] * 3),
        ("A B B A", [[A], [B], [B], [A]], [None, False, False, True], [None, None, None, 2]),
        (
            "the last visit counts, not the first",
            [[A], [B], [A], [C], [A]],
            [None, False, True, False, True],
            [None, None, 1, None, 1],
        ),
        (
            "a session without an interest lies between too, but decides nothing itself",
            [[A], [B], [NONE], [C], [A]],
            [None, False, None, None, True],
            [None, None, None, None, 3],
        ),
    ]
    for rule, history, returns, lags in examples:
        assert column(history, "is_return") == returns, rule
        assert column(history, "return_lag") == lags, rule


def test_a_move_back_that_is_no_hop_is_no_return() -> None:
    wide = fitted({0: np.linspace(0, 2, 300).tolist()}, alpha=0.05)
    assert [(row["is_hop"], row["is_return"]) for row in tag([[A], [B], [A]], wide)] == [
        (None, None),
        (False, False),
        (False, False),
    ]


def test_a_hop_inside_a_theme_is_no_return() -> None:
    near = fitted({pair: np.linspace(0, 0.1, 300).tolist() for pair in range(PAIRS)})
    rows = tag([[A], [A], [A, A, B]], near)
    assert [row["theme_id"] for row in rows] == [2, 2, 2]
    assert (rows[2]["is_hop"], rows[2]["is_return"], rows[2]["return_lag"]) == (True, False, None)


HOP = ("hop_p", "hop_score", "is_hop", "is_return", "return_lag")


def test_undecided_a_users_first_session() -> None:
    _, rows, _ = tag_block(block_of([[[A], [B]], [[C], [A]]]), fitted())
    found = table_of(rows).to_pylist()
    assert [row["is_hop"] for row in found] == [None, True, None, True]
    for row in (found[0], found[2]):
        assert {row[name] for name in (*HOP, "hop_distance")} == {None}


def test_undecided_either_interest_missing() -> None:
    examples: list[History] = [[[A], [NONE]], [[NONE], [A]], [[A], [A, OPPOSITE_A]], [[A, OPPOSITE_A], [A]]]
    for history in examples:
        row = tag(history)[1]
        assert {row[name] for name in (*HOP, "hop_distance")} == {None}, history
    assert column([[A, OPPOSITE_A], [A]], "theme_id", "has_interest") == [(1, False), (2, True)]


def test_undecided_fewer_than_200_windows() -> None:
    low = np.linspace(0, 0.5, 199).tolist()
    few, enough = tag([[A], [B]], fitted({0: low}))[1], tag([[A], [B]], fitted({0: [*low, 0.1]}))[1]
    assert [few[name] for name in HOP] == [None] * 5
    assert few["hop_distance"] == 1.0  # known, but there is nothing to hold it against
    assert (enough["is_hop"], enough["hop_p"]) == (True, 1 / 201)
    other = tag([[A], [B]], fitted({1: [*low, 0.1]}))[1]  # a null of another class pair does not serve
    assert other["is_hop"] is None


def test_undecided_a_class_that_cannot_reach_alpha() -> None:
    often = [0.1] * 289 + [1.0] * 11  # 12 / 301 at best
    assert tag([[A], [B]], fitted({0: often}, alpha=0.03))[1]["is_hop"] is None
    assert tag([[A], [B]], fitted({0: often}, alpha=0.04))[1]["is_hop"] is True


def test_a_hop_at_exactly_alpha_counts() -> None:
    null = [0.1] * 190 + [1.0] * 9 + [0.2]  # p = 10 / 201 at distance 1
    assert tag([[A], [B]], fitted({0: null}, alpha=10 / 201))[1]["is_hop"] is True


EVENTS: list[Event] = [A, B, C, OPPOSITE_A, UNSEEN_IN_2, NONE]
SESSION = st.lists(st.sampled_from(EVENTS), min_size=1, max_size=14)
USERS = st.lists(st.lists(SESSION, min_size=1, max_size=7), min_size=1, max_size=4)


@given(USERS, st.integers(0, 99))
def test_tags_equal_the_oracle(users: list[History], seed: int) -> None:
    fit = random_fit(seed)
    tags, rows, state = tag_block(block_of(users), fit)
    assert state is None
    nulls = {
        tuple(pair_name(k).split("|")): fit.hop_null.distance[
            slice(*fit.hop_null.offsets[k : k + 2])
        ].tolist()
        for k in range(PAIRS)
    }
    named = dict(zip(IDS, map(tuple, CENTROIDS), strict=True))
    running: list[int] = []
    final: list[int] = []
    expected: list[oracle.Tested] = []
    for history in users:
        sessions = [[vector_of(event) for event in session] for session in history]
        themes = [theme_oracle.running(session, named, 3) for session in sessions]
        running += [theme for session in themes for theme in session]
        final += [session[-1] for session in themes for _ in session]
        expected += oracle.tag_user(sessions, [session[-1] for session in themes], nulls, fit.alpha)
    assert tags.theme_running.tolist() == running
    assert tags.theme_session.tolist() == final
    found = [
        oracle.Tested(row["hop_distance"], row["hop_p"], row["is_hop"], row["is_return"], row["return_lag"])
        for row in table_of(rows).to_pylist()
    ]
    assert found == expected


def vector_of(event: Event) -> tuple[int, ...] | None:
    vector = ITEMS.get(event[0]) or CATEGORIES.get(event[1])
    return tuple(vector) if vector else None


@given(USERS, st.lists(st.integers(0, 100), max_size=6), st.integers(0, 99))
@settings(max_examples=200)
def test_any_cut_into_blocks_gives_the_same_rows(users: list[History], places: list[int], seed: int) -> None:
    fit = random_fit(seed)
    block = block_of(users)
    whole, rows, _ = tag_block(block, fit)
    expected = table_of(rows).drop(["session_id"])
    parts: list[Tags] = []
    tables: list[pa.Table] = []
    state: TagStates | None = None
    for piece in cut(block, places):
        tags, part, state = tag_block(piece, fit, state)
        parts.append(tags)
        tables.append(table_of(part).drop(["session_id"]))
    assert state is None
    assert np.concatenate([tags.theme_running for tags in parts]).tolist() == whole.theme_running.tolist()
    assert np.concatenate([tags.theme_session for tags in parts]).tolist() == whole.theme_session.tolist()
    assert pa.concat_tables(tables).to_pylist() == expected.to_pylist()


@given(USERS, st.integers(0, 99))
def test_no_value_is_nan_and_arrays_are_not_changed(users: list[History], seed: int) -> None:
    block = block_of(users)
    before = [block.ts.copy(), block.item.copy(), block.session.copy()]
    _, rows, _ = tag_block(block, random_fit(seed))
    for name in ("hop_distance", "hop_p"):
        assert np.isfinite(getattr(rows, name)).all()
    assert all(
        np.array_equal(x, y) for x, y in zip(before, [block.ts, block.item, block.session], strict=True)
    )


def state_after(piece: EventBlock) -> TagStates:
    state = tag_block(piece, fitted())[2]
    assert state is not None
    return state


def test_a_block_needs_the_state_of_the_block_before() -> None:
    first, second = cut(block_of([[[A], [B], [A]]]), [2])
    other = block_of([[[A]]], ["someone else"])
    with pytest.raises(ValueError, match="no state is given of the first user"):
        tag_block(second, fitted())
    with pytest.raises(ValueError, match="but the block begins with user 'someone else'"):
        tag_block(other, fitted(), state_after(first))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"centroids": np.eye(2)}, "shape"),
        ({"centroids": np.eye(3) * 0.7}, "multiples"),
        ({"centroids": np.eye(3) * 0.5}, "length one"),
        ({"theme_ids": np.array([1, 2, 3], np.int32)}, "from 2"),
        ({"theme_ids": np.array([2, 2, 3], np.int32)}, "ascend"),
        ({"alpha": 0.0}, "between 0 and 1"),
    ],
)
def test_a_fit_that_would_tag_wrongly_is_refused(changed: dict[str, Any], message: str) -> None:
    good = fitted()
    parts = {name: getattr(good, name) for name in FittedThemes.__dataclass_fields__}
    with pytest.raises(ValueError, match=message):
        FittedThemes(**(parts | changed))
