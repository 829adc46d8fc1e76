"""Rows of the tensor contract: every row is compared with the definition, for any cut into blocks."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.chunks import OpenUsers, arrow_schema, chunk_block
from features.spec import FamilySpec, SequenceSpec
from tests.features.tagged import (
    KEYED,
    Tagged,
    blocks,
    closed,
    histories,
    history,
    random_history,
    small_spec,
    specs,
)
from tests.oracles import chunks as oracle
from tests.oracles.rows import Row, check
from tests.oracles.strands import Event


def fold(parts: list[Tagged], spec: SequenceSpec) -> list[Row]:
    """All rows by user and chunk."""
    state: OpenUsers | None = None
    rows: list[Row] = []
    for block, running, session in parts:
        batches, state = chunk_block(block, running, session, spec, state)
        for batch in batches:
            assert batch.schema == arrow_schema(spec)
            rows += batch.to_pylist()
    assert state is None
    return sorted(rows, key=lambda row: (row["user_id"], row["chunk"]))


TINY = SequenceSpec(7, 2, (3, 7), (FamilySpec("recent", 1, 2), FamilySpec("mode", 1, 1)))


def test_a_short_history_is_one_row() -> None:
    """Three events, the last two at one time: two targets, both of which see only the first event."""
    events = history([(0, False, 2, 1, 5), (1, False, 3, 1, 5), (0, False, 4, 2, 6)])
    (row,) = fold(blocks({"u": events}, set()), TINY)
    assert (row["chunk"], row["length"], row["length_bucket"], row["n_targets"]) == (0, 3, 3, 2)
    assert row["events__ordinal"] == [1, 2, 3]
    assert row["events__theme_running"] == [5, 5, 6]
    assert row["events__theme_session"] == [6, 6, 6]
    assert (row["targets__pos"], row["targets__read_pos"]) == ([1, 2], [0, 0])
    assert (row["recent__pos"], row["recent__key"], row["recent__dropped"]) == ([1, 2], [1], 1)
    assert (row["mode__pos"], row["mode__key"], row["mode__dropped"]) == ([2], [2], 2)


def test_five_events_are_two_chunks_of_two_targets() -> None:
    """P = 2: chunk 0 owns events 2 and 3, chunk 1 owns 4 and 5 and holds the last two before them."""
    events = history([(1, False, 2, 1, 5)] * 3 + [(1, True, 2, 2, 6)] * 2)
    first, second = fold(blocks({"u": events}, set()), TINY)
    assert first["events__ordinal"] == [1, 2, 3]
    assert second["events__ordinal"] == [0, 0, 0, 2, 3, 4, 5]
    assert (second["targets__pos"], second["targets__read_pos"]) == ([5, 6], [4, 5])


def test_all_events_at_one_time_have_no_target() -> None:
    """The row holds what the history's end selects: the last two, and no target."""
    events = history([(0, False, 2, 1, 5)] * 4)
    (row,) = fold(blocks({"u": events}, set()), TINY)
    assert (row["n_targets"], row["targets__pos"]) == (0, [-1, -1])
    assert row["events__ordinal"] == [0, 3, 4]


users = st.dictionaries(st.sampled_from("abc"), histories(), min_size=1)


@settings(max_examples=300, deadline=None)
@given(users, specs, st.sets(st.integers(1, 60)))
def test_rows_are_those_of_the_definition(
    users: dict[str, list[Event]], spec: SequenceSpec, cuts: set[int]
) -> None:
    check(users, fold(blocks(users, cuts), spec), spec)


@pytest.mark.parametrize("seed", range(12))
def test_long_histories(seed: int) -> None:
    """Hundreds of events, many keys: chunks close by P and by L, returns reach far back."""
    rng = np.random.default_rng(seed)
    keyed = [name for name in KEYED if rng.random() < 0.6]
    spec = small_spec(5, 3, 2, int(rng.integers(10, 60)), extra=int(rng.integers(0, 9)), keyed=keyed)
    drawn = {name: random_history(rng, int(rng.integers(1, 160))) for name in "ab"}
    cuts = set(rng.integers(1, 100, 8).tolist()) if seed % 3 else set(range(200))
    check(drawn, fold(blocks(drawn, cuts), spec), spec)


def test_a_chunk_closes_before_the_event_that_would_overflow_it() -> None:
    """L = 9, the last 2 events and 2 of 1 category: chunk 0 holds events 1 to 9, a tenth would be too many.

    Chunk 1 starts with events 8 and 9; its target 11 brings back event 1, and its last, 13, brings event 5.
    """
    spec = small_spec(2, 1, 2, 20, keyed=["category"])
    assert spec.pool == 9
    events = history((1, False, category, 1, 2) for category in (7, 3, 3, 3, 3, 8, 8, 8, 8, 8, 7, 9, 3))
    rows = fold(blocks({"u": events}, set()), spec)
    assert [row["n_targets"] for row in rows] == [8, 4]
    assert rows[1]["events__ordinal"] == [0, 1, 5, 8, 9, 10, 11, 12, 13]


@pytest.mark.parametrize("seed", range(16))
def test_chunks_that_close_by_the_pool(seed: int) -> None:
    """One keyed family and the smallest pools: nearly every chunk closes by L, with every entry counted."""
    rng = np.random.default_rng(seed)
    spec = small_spec(3, 1 + seed % 2, 2, 100, extra=seed % 3, keyed=[KEYED[seed // 4]])
    drawn = {name: random_history(rng, 120) for name in "abc"}
    rows = fold(blocks(drawn, set()), spec)
    check(drawn, rows, spec)
    assert max(row["chunk"] for row in rows) > 5


@pytest.mark.parametrize("seed", range(4))
def test_any_cut_gives_the_same_rows(seed: int) -> None:
    """Thousands of events under the default families, against one block that holds everything."""
    rng = np.random.default_rng(seed)
    spec = SequenceSpec(2500, 60, (64, 512, 2500)) if seed % 2 else small_spec(5, 3, 2, 20, extra=9)
    drawn = {name: random_history(rng, size) for name, size in (("a", 900), ("b", 30), ("c", 1500))}
    expected = fold(blocks(drawn, set()), spec)
    assert len(expected) > 20
    for cuts in (set(range(3000)), set(rng.integers(1, 1000, 15).tolist())):
        assert fold(blocks(drawn, cuts), spec) == expected


@settings(deadline=None)
@given(users, specs)
def test_every_target_is_owned_once(users: dict[str, list[Event]], spec: SequenceSpec) -> None:
    rows = fold(blocks(users, set()), spec)
    for user, events in users.items():
        owned = [
            row["events__ordinal"][at]
            for row in rows
            if row["user_id"] == user
            for at in row["targets__pos"]
            if at >= 0
        ]
        assert owned == [at + 1 for at in range(len(events)) if oracle.visible(events, at) > 0]


@settings(deadline=None)
@given(histories(), specs, st.data())
def test_a_closed_chunk_never_changes(events: list[Event], spec: SequenceSpec, data: st.DataObject) -> None:
    """Whatever comes after a prefix of the history, only its last row can change."""
    size = data.draw(st.integers(1, len(events)))
    early = fold(blocks({"u": closed(events[:size])}, set()), spec)
    late = fold(blocks({"u": events}, set()), spec)
    assert late[: len(early) - 1] == early[:-1]


def test_memory_between_blocks_is_bounded() -> None:
    """A user of 20,000 events in blocks of about 500 carries only what later chunks may select."""
    rng = np.random.default_rng(1)
    keys = rng.integers(1, 5, (20_000, 2))
    events = history((1, at % 9 == 0, int(keys[at, 0]), 1, int(keys[at, 1])) for at in range(20_000))
    spec = small_spec(5, 3, 2, 20, extra=9)
    state: OpenUsers | None = None
    for block, running, session in blocks({"u": events}, set(range(0, 3000, 55))):
        _, state = chunk_block(block, running, session, spec, state)
        assert state is None or len(state.events) <= 2 * spec.pool + spec.targets


def test_a_run_of_equal_times_cut_over_blocks_keeps_no_more() -> None:
    """Sessions by count may cut a run of equal times: v stays at its start, memory stays bounded."""
    steps = [(1, False, 2, 1, 2)] * 3 + [(0, at % 4 == 0, 2 + at % 3, 1, 2) for at in range(300)]
    events = history([*steps, *[(1, True, 2, 2, 3)] * 9])
    spec = small_spec(4, 2, 2, 3)
    state: OpenUsers | None = None
    rows: list[Row] = []
    for block, running, session in blocks({"u": events}, set(range(100))):
        batches, state = chunk_block(block, running, session, spec, state)
        rows += [row for batch in batches for row in batch.to_pylist()]
        assert state is None or len(state.events) <= 2 * spec.pool
    rows.sort(key=lambda row: row["chunk"])
    check({"u": events}, rows, spec)


def test_blocks_out_of_order_are_refused() -> None:
    parts = blocks({"u": history([(1, True, 2, 1, 2)] * 6)}, {3})
    with pytest.raises(ValueError, match="pass blocks in order"):
        chunk_block(*parts[1], TINY, None)
    _, state = chunk_block(*parts[0], TINY, None)
    assert state is not None
    with pytest.raises(ValueError, match="pass blocks in order"):
        chunk_block(*parts[0], TINY, state)


def test_every_event_needs_its_themes() -> None:
    ((block, running, session),) = blocks({"u": history([(1, False, 2, 1, 2)] * 3)}, set())
    with pytest.raises(ValueError, match="one of each per event"):
        chunk_block(block, running[:2], session, TINY, None)


def test_columns_are_those_of_the_spec() -> None:
    schema = arrow_schema(SequenceSpec().without("category"))
    assert schema.field("theme__pos").type == pa.list_(pa.int32())
    assert schema.field("events__ts").type == pa.list_(pa.int64())
    assert "category__pos" not in schema.names
    assert schema.field("first_ts").type == pa.timestamp("us", "UTC")
