"""Hypothesis strategies for encoded event tables, shared by the tests of all kernels."""

from collections.abc import Sequence
from itertools import pairwise

import pyarrow as pa
from hypothesis import strategies as st

from features.block import ENCODED_EVENTS, EventBlock
from features.codes import MODES, UNKNOWN
from features.sessions import SessionRule, sessionize

GAP_US = 1_800_000_000
MAX_US = 3_600_000_000
GAP_RULE = SessionRule("gap", gap_us=GAP_US, max_us=MAX_US)
"""30 minutes and a cap of only one hour, so that short random histories reach it."""

RULES = (GAP_RULE, SessionRule("every_n", every_n=3), SessionRule("source_key"))

STEPS_US = (0, 1, 999_999, 1_000_000, GAP_US - 1, GAP_US, GAP_US + 1, MAX_US, 3 * MAX_US)
"""Ties, steps around one second, around the gap limit, and beyond the cap."""

PACES = (STEPS_US, STEPS_US[:6], (GAP_US - 1, GAP_US))
"""Users of every kind; users without a pause; users whom only the cap cuts."""

Row = tuple[str, str, int, int, int, int, int, str | None]


@st.composite
def event_rows(draw: st.DrawFn, max_users: int = 4, max_events: int = 24, min_users: int = 0) -> list[Row]:
    """Rows of ENCODED_EVENTS, sorted by user, ts, mode and event id; often one user or one event only."""
    rows: list[Row] = []
    for user in range(draw(st.integers(min_users, max_users))):
        ts = draw(st.integers(0, 10)) * GAP_US
        steps = st.sampled_from(draw(st.sampled_from(PACES)))
        for step in draw(st.lists(steps, min_size=1, max_size=max_events)):
            ts += step
            mode = draw(st.integers(1, len(MODES)))
            rows.append(
                (
                    f"u{user}",
                    f"e{draw(st.integers(0, 9))}-{len(rows)}",  # ids that are not in order of time
                    ts,
                    draw(st.integers(UNKNOWN, 9)),
                    draw(st.integers(UNKNOWN, 4)),
                    mode + 1,
                    mode,
                    draw(st.sampled_from((None, "a", "b"))),
                )
            )
    return sorted(rows, key=lambda row: (row[0], row[2], row[6], row[1]))


def encoded(rows: Sequence[Row]) -> pa.RecordBatch:
    """Rows as one batch of schema ENCODED_EVENTS."""
    columns = list(zip(*rows, strict=True)) or [()] * len(ENCODED_EVENTS)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, ENCODED_EVENTS, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=ENCODED_EVENTS)


def encoded_events(max_users: int = 4, max_events: int = 24) -> st.SearchStrategy[pa.RecordBatch]:
    """A sorted table of random events as one batch."""
    return event_rows(max_users, max_events).map(encoded)


def event_blocks(rule: SessionRule = GAP_RULE, max_users: int = 4) -> st.SearchStrategy[EventBlock]:
    """A block of whole users (at least one), cut into sessions."""
    rows = event_rows(max_users, min_users=1)
    return rows.map(lambda drawn: next(sessionize([encoded(drawn)], rule)))


def cut(batch: pa.RecordBatch, points: Sequence[int]) -> list[pa.RecordBatch]:
    """The batch cut at those positions, modulo its size; repeated ones give empty batches."""
    edges = [0, *sorted(point % (batch.num_rows + 1) for point in points), batch.num_rows]
    return [batch.slice(start, end - start) for start, end in pairwise(edges)]


def cut_points(max_size: int = 8, max_value: int = 96) -> st.SearchStrategy[list[int]]:
    """Positions for ``cut``, at random or between any two events of a small table."""
    everywhere = st.just(list(range(24)))
    return everywhere | st.lists(st.integers(0, max_value), max_size=max_size)
