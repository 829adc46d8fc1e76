"""Going on from stored states: any days of any events give what one pass over all of them gives."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from features.block import ENCODED_EVENTS
from features.chunks import chunk_block
from features.resume import ORDERED_EVENTS, STATE, states_behind, steps, together
from features.sessions import SessionRule, session_ids
from features.spec import SequenceSpec
from features.tags import FittedThemes, tag_block
from features.user_state import STATES
from features.users import UserRule, reasons, summarise_users
from tests.features.fits import random_fit
from tests.features.tagged import specs
from tests.strategies import GAP_US, RULES, Row, cut, cut_points, encoded, event_rows

FLAGS = UserRule(max_events=9, fast_gap_us=1, fast_gaps=3, pause_us=GAP_US, awake_us=2 * GAP_US)
Key = tuple[str, int]


@dataclass
class Tables:
    """What a pass over users writes; a day replaces the rows of its users from a place on."""

    sessions: dict[Key, Any] = field(default_factory=dict)
    sequences: dict[Key, Any] = field(default_factory=dict)
    users: dict[str, Any] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)

    def replace(self, new: "Tables", sessions: dict[str, int], chunks: dict[str, int]) -> None:
        """Put in the new rows of users, whose old ones from a session and a chunk on go."""
        for mine, theirs, kept in (
            (self.sessions, new.sessions, sessions),
            (self.sequences, new.sequences, chunks),
        ):
            for key in [key for key in mine if key[0] in new.users and key[1] >= kept.get(key[0], 0)]:
                del mine[key]
            assert not mine.keys() & theirs.keys()
            mine.update(theirs)
        self.users |= new.users
        self.states |= new.states


@dataclass(frozen=True)
class Pass:
    """The folds under one fit and one set of rules."""

    rule: SessionRule
    fitted: FittedThemes
    spec: SequenceSpec
    block_events: int

    def run(self, batches: list[pa.RecordBatch]) -> Tables:
        """All tables of a stream."""
        stream = list(steps(batches, self.rule, self.block_events))
        states, known = [], None
        for step in stream:
            rows, known = states_behind(step, known, self.fitted, FLAGS, self.spec)
            states += [row for batch in rows for row in batch.to_pylist()]
        assert len({row["user_id"] for row in states}) == len(states)
        tables = Tables(states={row["user_id"]: row for row in states})
        themes, flags, chunks = None, None, None
        for step in stream:
            tags, found, themes = tag_block(step.block, self.fitted, together(themes, step.tags))
            for row in found.to_batch(pa.array(session_ids(step.block))).to_pylist():
                tables.sessions[row["user_id"], row["ordinal"]] = row
            users, flags = summarise_users(together(flags, step.flags), step.block, FLAGS)
            columns = (users.n_events, users.n_sessions, users.first_ts, users.last_ts, users.reason)
            for user, *values in zip(users.user_ids, *(column.tolist() for column in columns), strict=True):
                tables.users[user] = (*values[:-1], reasons(values[-1]))
            rows, chunks = chunk_block(
                step.block,
                tags.theme_running,
                tags.theme_session,
                self.spec,
                together(chunks, step.open),
            )
            for row in (row for batch in rows for row in batch.to_pylist()):
                tables.sequences[row["user_id"], row["chunk"]] = row
        return tables


def order(row: Row) -> tuple[Any, ...]:
    return row[0], row[2], row[6], row[1]


def stream(rows: Iterable[Row], states: dict[str, Any]) -> pa.RecordBatch:
    """Events in order, each user's stored state in front of them."""
    lines = sorted(
        [(user, -1, 0, "", state) for user, state in states.items()] + [(*order(row), row) for row in rows],
        key=lambda line: line[:4],
    )
    blank = (None,) * (len(ENCODED_EVENTS) - 1)
    told = [line[4] if isinstance(line[4], dict) else None for line in lines]
    events = encoded(
        [(line[0], *blank) if state else line[4] for line, state in zip(lines, told, strict=True)]
    )
    return pa.record_batch(
        [
            *events.columns,
            pa.nulls(len(lines), pa.int64()),
            pa.array(
                [line[4] if isinstance(line[4], dict) else None for line in lines], pa.struct(list(STATES))
            ),
        ],
        schema=pa.schema([*ORDERED_EVENTS, (STATE, pa.struct(list(STATES)))]),
    )


def day_by_day(days: list[list[Row]], fold: Pass, points: list[int]) -> Tables:
    """Each day goes on from the states of the days before; users with a late event are made anew."""
    tables, history = Tables(), list[Row]()
    for day in days:
        touched = {row[0] for row in day}
        late = {row[0] for row in day if is_late(row, tables.states.get(row[0]))}
        stored = {user: tables.states[user] for user in touched - late if user in tables.states}
        tails = {event for state in stored.values() for event in state["tail__event_id"]}
        events = [row for row in history if row[0] in late or row[1] in tails]
        new = fold.run(cut(stream([*events, *day], stored), points))
        tables.replace(
            new,
            {user: state["n_sessions"] + 1 for user, state in stored.items()},
            {user: state["open__chunk"] for user, state in stored.items()},
        )
        history += day
    return tables


def is_late(row: Row, state: dict[str, Any] | None) -> bool:
    """Whether an event comes before the last session's first one."""
    if state is None:
        return False
    first = (row[0], state["tail__ts"][0], state["tail__mode"][0], state["tail__event_id"][0])
    return order(row) < first


@st.composite
def days_of_events(draw: st.DrawFn) -> list[list[Row]]:
    """Events dealt to days: mostly in order of time, some anywhere."""
    rows = draw(event_rows(max_users=3, max_events=24, min_users=1))
    count = draw(st.integers(1, 4))
    longest = max(row[2] for row in rows) + 1
    days: list[list[Row]] = [[] for _ in range(count)]
    for row in rows:
        in_time = row[2] * count // longest
        days[draw(st.sampled_from((in_time, in_time, in_time, 0, count - 1)))].append(row)
    return days


passes = st.builds(
    Pass, st.sampled_from(RULES), st.integers(0, 99).map(random_fit), specs, block_events=st.integers(1, 30)
)


@given(days_of_events(), passes, cut_points())
@settings(max_examples=300, deadline=None)
def test_days_equal_one_pass(days: list[list[Row]], fold: Pass, points: list[int]) -> None:
    rows = sorted((row for day in days for row in day), key=order)
    whole = replace(fold, block_events=65_536).run([stream(rows, {})])
    parts = day_by_day(days, fold, points)
    assert parts.users == whole.users
    assert parts.sessions == whole.sessions
    assert parts.sequences == whole.sequences
    assert parts.states == whole.states
