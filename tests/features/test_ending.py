"""Rows at histories' ends: each is compared with the definition."""

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from features.chunks import arrow_schema, chunk_block, ending_rows
from features.spec import SequenceSpec
from tests.features.tagged import blocks, histories, random_history, small_spec, specs
from tests.oracles import chunks as oracle
from tests.oracles.strands import Event
from training.gold import Block, at_end, to_whole_block

Row = dict[str, Any]


def ending(users: dict[str, list[Event]], spec: SequenceSpec) -> list[pa.RecordBatch]:
    (part,) = blocks(users, set())
    return list(ending_rows(*part, spec))


def wanted(history: list[Event], spec: SequenceSpec) -> tuple[int, list[int]]:
    """Number of the chunk and its pool: the only chunk where it has room, else P(end)."""
    cut = oracle.chunks(history, spec)
    start, end, pool = cut[0]
    if len(cut) == 1 and end - start < spec.targets and len(pool) < spec.pool:
        return 0, pool
    return 1, sorted(oracle.prefix_pool(history, len(history), spec))


@settings(max_examples=200)
@given(st.lists(histories(), min_size=1, max_size=3), specs)
def test_rows_hold_what_the_next_event_may_see(found: list[list[Event]], spec: SequenceSpec) -> None:
    users = {f"u{at}": history for at, history in enumerate(found)}
    rows = [row for batch in ending(users, spec) for row in batch.to_pylist()]
    assert sorted(row["user_id"] for row in rows) == sorted(users)
    for row in rows:
        history = users[row["user_id"]]
        chunk, pool = wanted(history, spec)
        padding = [0] * (row["length_bucket"] - len(pool))
        assert (row["chunk"], row["n_targets"], row["length"]) == (chunk, 0, len(pool))
        assert row["events__ordinal"] == padding + [at + 1 for at in pool]
        assert row["events__item"] == padding + [history[at].item for at in pool]
        assert row["events__theme_running"] == padding + [history[at].theme_running for at in pool]
        assert set(row["targets__pos"]) == {-1}


def by_user(batches: list[pa.RecordBatch], spec: SequenceSpec) -> dict[str, tuple[Block, int]]:
    """Each user's last row, as a model is asked at its end."""
    found: dict[str, tuple[int, Block, int]] = {}
    for batch in batches:
        table = pa.Table.from_batches([batch])
        block = at_end(to_whole_block(table, table.column("length_bucket")[0].as_py(), spec), spec)
        for place, (user, chunk) in enumerate(
            zip(table.column("user_id").to_pylist(), table.column("chunk").to_pylist(), strict=True)
        ):
            if user not in found or found[user][0] < chunk:
                found[user] = (chunk, block, place)
    return {user: (block, place) for user, (_, block, place) in found.items()}


def check_same(users: dict[str, list[Event]], spec: SequenceSpec) -> None:
    """The table's last rows, whatever chunks went before, tell the same as the histories' ends."""
    (part,) = blocks(users, set())
    table, _ = chunk_block(*part, spec)
    theirs, ours = by_user(list(table), spec), by_user(ending(users, spec), spec)
    for user, (block, place) in ours.items():
        other, at = theirs[user]
        length = int(block.length[place])
        assert length == other.length[at]
        for name, values in block.events.items():
            own, expected = values[place][-length:], other.events[name][at][-length:]
            assert np.array_equal(own, expected), (user, name)


@settings(max_examples=200)
@given(st.lists(histories(), min_size=1, max_size=3), specs)
def test_the_tables_last_rows_tell_the_same(found: list[list[Event]], spec: SequenceSpec) -> None:
    check_same({f"u{at}": history for at, history in enumerate(found)}, spec)


def test_so_do_those_of_long_histories() -> None:
    rng = np.random.default_rng(11)
    users = {f"u{at:02d}": random_history(rng, size) for at, size in enumerate((400, 300, 90, 33, 8, 1))}
    for spec in (small_spec(), small_spec(12, 3, 6, 40, extra=30), SequenceSpec()):
        check_same(users, spec)


def test_batches_are_those_of_the_table() -> None:
    batches = ending({"u": random_history(np.random.default_rng(0), 3)}, SequenceSpec())
    assert [batch.schema for batch in batches] == [arrow_schema(SequenceSpec())]
