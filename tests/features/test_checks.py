"""The row gate: silent on rows of the real kernel, loud on every way of breaking one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.checks import ROW_FACTS, RULES, check_rows
from features.chunks import arrow_schema, chunk_block
from features.spec import FamilySpec, SequenceSpec
from tests.features.tagged import blocks, histories, history, random_history, specs
from tests.oracles.strands import Event

Row = dict[str, Any]
AS_OF = 10**15  # µs: 2001
LARGEST = {"item": 1000, "category": 1000, "type": 4}


def rows_of(users: dict[str, list[Event]], spec: SequenceSpec) -> list[pa.RecordBatch]:
    batches = []
    state = None
    for block, running, session in blocks(users, set()):
        found, state = chunk_block(block, running, session, spec, state)
        batches += found
    return batches


def facts(batches: list[pa.RecordBatch], spec: SequenceSpec, as_of: int = AS_OF) -> list[Row]:
    pieces = [piece for batch in batches for piece in check_rows(batch, spec, as_of, LARGEST)]
    assert all(piece.schema == ROW_FACTS for piece in pieces)
    return [row for piece in pieces for row in piece.to_pylist()]


def broken(row: Row) -> set[str]:
    return {rule for bit, rule in enumerate(RULES) if row["violations"] >> bit & 1}


@settings(max_examples=60, deadline=None)
@given(st.lists(histories(), min_size=1, max_size=4), specs)
def test_rows_of_the_kernel_break_no_rule(users: list[list[Event]], spec: SequenceSpec) -> None:
    named = {f"u{k}": events for k, events in enumerate(users)}
    found = facts(rows_of(named, spec), spec)
    assert [row for row in found if broken(row)] == []
    for user, events in named.items():
        mine = sorted((row for row in found if row["user_id"] == user), key=lambda row: row["chunk"])
        owned = [
            ordinal
            for row in mine
            if row["n_targets"]
            for ordinal in range(row["first_target"], row["last_target"] + 1)
        ]
        assert owned == [k for k, event in enumerate(events, 1) if event.ts > events[0].ts]


def test_batches_that_mix_buckets_are_taken_apart() -> None:
    spec = SequenceSpec(64, 8, (4, 16, 64), (FamilySpec("recent", 1, 4),))
    users = {f"u{k}": random_history(np.random.default_rng(k), size) for k, size in enumerate((2, 9, 40))}
    batches = rows_of(users, spec)
    mixed = pa.Table.from_batches(batches).combine_chunks().to_batches()
    assert len({batch.num_rows for batch in batches}) >= 1 and len(mixed) == 1
    found = facts(mixed, spec)
    assert len(found) == sum(batch.num_rows for batch in batches)
    assert not any(broken(row) for row in found)


# One user, ten events in three sessions, themes 2 and 3, read by a spec in which all of it fits.
SPEC = SequenceSpec(
    128,
    8,
    (4, 16, 128),
    (
        FamilySpec("recent", 1, 4),
        FamilySpec("session", 3, 4),
        FamilySpec("theme", 2, 4),
        FamilySpec("category", 2, 4),
        FamilySpec("mode", 3, 4),
    ),
)
STEPS = [
    # gap (µs), new session, category, mode, running theme
    (1_000_000, True, 2, 1, 2),
    (1_000_000, False, 2, 1, 2),
    (0, False, 3, 2, 2),
    (2_000_000, True, 3, 1, 3),
    (1_000_000, False, 3, 1, 3),
    (1_000_000, False, 2, 3, 3),
    (9_000_000, True, 2, 1, 2),
    (1_000_000, False, 2, 1, 2),
]
PAD = 16 - len(STEPS)


def sound_row() -> Row:
    (batch,) = rows_of({"u": history(STEPS)}, SPEC)
    (row,) = batch.to_pylist()
    return row


def put(column: str, place: int, value: Any) -> Callable[[Row], None]:
    def change(row: Row) -> None:
        row[column][place] = value

    return change


def swap(column: str, a: int, b: int) -> Callable[[Row], None]:
    def change(row: Row) -> None:
        row[column][a], row[column][b] = row[column][b], row[column][a]

    return change


def plus(column: str, by: Any) -> Callable[[Row], None]:
    def change(row: Row) -> None:
        row[column] += by

    return change


def drop_last(column: str) -> Callable[[Row], None]:
    def change(row: Row) -> None:
        row[column].pop()

    return change


def null(column: str) -> Callable[[Row], None]:
    def change(row: Row) -> None:
        row[column] = None

    return change


def in_the_year_9000(row: Row) -> None:
    row["last_ts"] = row["last_ts"].replace(year=9000)


def read_itself(row: Row) -> None:
    row["targets__read_pos"][3] = row["targets__pos"][3]


def oldest_session_first(row: Row) -> None:
    row["session__key"] = row["session__key"][::-1]
    row["session__pos"] = [place for strand in (2, 1, 0) for place in row["session__pos"][strand * 4 :][:4]]


def repeat_first_theme(row: Row) -> None:
    row["theme__key"][1] = row["theme__key"][0]


BREAKS: list[tuple[str, str, Callable[[Row], None]]] = [
    ("bucket", "a length that belongs to a smaller bucket", plus("length", -5)),
    ("bucket", "a bucket that the spec does not have", plus("length_bucket", 1)),
    ("bucket", "a row without a bucket", null("length_bucket")),
    ("bucket", "a row without a length", null("length")),
    ("shape", "an array one short", drop_last("events__ts")),
    ("shape", "a null in an array", put("mode__pos", 0, None)),
    ("shape", "a null array", null("targets__pos")),
    ("mask_sum", "a place wiped", put("events__item", PAD + 3, 0)),
    ("mask_sum", "length one too small", plus("length", -1)),
    ("left_padding", "a hole in the events", put("events__mode", PAD + 3, 0)),
    ("left_padding", "a time in the padding", put("events__ts", 0, 1)),
    ("ts_order", "two times swapped", swap("events__ts", PAD, PAD + 7)),
    ("ordinal_order", "an ordinal twice", put("events__ordinal", PAD + 2, 2)),
    ("session_order", "sessions that go back", swap("events__session", PAD, PAD + 7)),
    ("row_times", "first_ts of another event", lambda row: row.update(first_ts=row["last_ts"])),
    ("row_times", "last_ts of another event", lambda row: row.update(last_ts=row["first_ts"])),
    ("as_of", "a last event in the future", in_the_year_9000),
    ("as_of", "a time in the future", put("events__ts", PAD + 7, 10**9)),
    ("codes", "an item beyond the vocabulary", put("events__item", PAD, 1001)),
    ("codes", "a category beyond the vocabulary", put("events__category", PAD, 1001)),
    ("codes", "a mode that is none", put("events__mode", PAD, 5)),
    ("codes", "a negative code", put("events__theme_running", PAD, -1)),
    ("strand_places", "a strand that points at padding", put("recent__pos", 0, 1)),
    ("strand_places", "a strand that points outside", put("recent__pos", 3, 16)),
    ("strand_alignment", "a gap inside a strand", put("recent__pos", 2, -1)),
    ("strand_alignment", "a strand out of order", swap("recent__pos", 2, 3)),
    ("strand_alignment", "an event twice", put("recent__pos", 2, 15)),
    ("strand_members", "another session's key", put("events__session", PAD + 7, 4)),
    ("strand_members", "another category's event", put("events__category", PAD + 7, 9)),
    ("strand_members", "a theme's event of another theme", put("events__theme_session", PAD + 7, 9)),
    ("strand_keys", "oldest key first", oldest_session_first),
    ("strand_keys", "a strand without a key", put("mode__key", 2, 0)),
    ("strand_keys", "a key without a strand", put("recent__key", 0, 0)),
    ("strand_keys", "a key twice", repeat_first_theme),
    ("strand_keys", "an unknown category as a key", put("category__key", 1, 1)),
    ("placed_dropped", "an event neither placed nor dropped", plus("category__dropped", -1)),
    ("placed_dropped", "a position lost", put("session__pos", 2, -1)),
    ("target_places", "fewer targets than counted", plus("n_targets", 1)),
    ("target_places", "a target in the padding", put("targets__pos", 0, 2)),
    ("target_places", "targets out of order", swap("targets__pos", 0, 1)),
    ("target_places", "a hole among the targets", put("targets__pos", 1, -1)),
    ("target_run", "an event skipped", put("events__ordinal", PAD + 7, 99)),
    ("target_reads", "a target that reads itself", read_itself),
    ("target_reads", "a target that reads padding", put("targets__read_pos", 0, 0)),
    ("target_reads", "a target that reads nothing", put("targets__read_pos", 0, -1)),
    ("target_reads", "a reading without a target", put("targets__read_pos", 7, PAD)),
    ("target_reads", "a later target that sees less", put("targets__read_pos", 4, PAD)),
]  # fmt: skip


def test_the_sound_row_breaks_no_rule() -> None:
    row = sound_row()
    assert row["length"] == 8 and row["length_bucket"] == 16 and row["n_targets"] == 7
    assert broken(check(row)) == set()


@pytest.mark.parametrize(
    ("rule", "what", "change"), BREAKS, ids=[f"{rule}: {what}" for rule, what, _ in BREAKS]
)
def test_each_break_is_found_by_its_rule(rule: str, what: str, change: Callable[[Row], None]) -> None:
    row = sound_row()
    change(row)
    assert rule in broken(check(row)), what


def test_every_rule_has_a_break() -> None:
    assert {rule for rule, *_ in BREAKS} == set(RULES)


def test_as_of_is_exclusive_to_the_microsecond() -> None:
    (batch,) = rows_of({"u": history([(0, True, 2, 1, 2), (5_250_000, False, 2, 1, 2)])}, SPEC)
    last = 6_250_000  # µs; events__ts says 6 s for it
    assert [broken(row) for row in facts([batch], SPEC, as_of=last + 1)] == [set()]
    assert [broken(row) for row in facts([batch], SPEC, as_of=last)] == [{"as_of"}]


def test_unknown_items_are_counted() -> None:
    row = sound_row()
    row["events__item"][PAD + 1] = 1
    assert check(row)["unknown_items"] == 1


def test_one_broken_row_does_not_taint_its_neighbours() -> None:
    rows = [sound_row() | {"user_id": f"u{k}"} for k in range(3)]
    rows[1]["events__ts"].pop()
    rows[2]["category__dropped"] += 1
    batch = pa.RecordBatch.from_pylist(rows, schema=arrow_schema(SPEC))
    assert [broken(row) for row in facts([batch], SPEC)] == [set(), {"shape"}, {"placed_dropped"}]


def check(row: Row) -> Row:
    batch = pa.RecordBatch.from_pylist([row], schema=arrow_schema(SPEC))
    (found,) = facts([batch], SPEC)
    return found
