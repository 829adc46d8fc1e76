"""Random events, cut into random batches, shuffled, repeated and late: the tables of one full build.

And those that the definitions give, written once more in plain Python. Hypothesis draws the examples; a group
of them goes through Spark together, each with users of its own, so that 500 take minutes and not hours.
Long: `pytest tests/e2e/test_batches.py -m slow -s`.
"""

import shutil
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from features.sessions import SessionRule
from features.spec import FamilySpec, SequenceSpec
from pipelines.reading import read_published_table
from pipelines.synthetic.generate import generate
from tests.content import TABLES, contents, table
from tests.e2e.builds import COLUMNS, SETTINGS, Case
from tests.oracles.hops import Tested
from tests.oracles.rows import check
from tests.oracles.tables import Learned, Raw, Session, user_rows
from tests.strategies import GAP_US, MAX_US, PACES

pytestmark = [pytest.mark.usefixtures("spark"), pytest.mark.timeout(1800)]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GROUP = 25
LONG = 500
LEARNED_DAYS = 4
FIRST = datetime(2026, 1, 1 + LEARNED_DAYS, tzinfo=UTC)
LAST = datetime(2026, 1, 10, tzinfo=UTC)
SPAN_US = (LAST - FIRST) // timedelta(microseconds=1)
RULE = SessionRule("gap", gap_us=GAP_US, max_us=MAX_US)
SPEC = SequenceSpec(
    80,
    4,
    (4, 8, 16, 80),
    (
        FamilySpec("recent", 1, 6),
        FamilySpec("session", 2, 4),
        FamilySpec("theme", 2, 3),
        FamilySpec("category", 2, 3),
        FamilySpec("mode", 2, 3),
    ),
)
OVERRIDES = (
    'ingest.allowed_lateness = "30d"',
    'sessions.max = "1h"',
    f"sequences.pool = {SPEC.pool}",
    f"sequences.targets = {SPEC.targets}",
    f"sequences.buckets = {list(SPEC.buckets)}",
    *(f"sequences.families.{f.name}.length = {f.length}" for f in SPEC.families),
    *(f"sequences.families.{f.name}.strands = {f.strands}" for f in SPEC.families),
)
MODES = {"pv": "browse", "cart": "intent", "buy": "purchase"}
UNSEEN = [("new-item", "old"), ("new-item-too", "new-category")]


class Arrival(NamedTuple):
    """An event, and the share of the batches that lies before it; ``again``: where it comes once more."""

    event: Raw
    place: float
    again: float | None


class Example(NamedTuple):
    """Events of one to three users."""

    arrivals: list[Arrival]


@st.composite
def examples(draw: st.DrawFn, items: list[tuple[str, str]]) -> Example:
    """Steps around every limit of the session rule, mostly in order of time, some anywhere."""
    arrivals = []
    for user in range(draw(st.integers(1, 3))):
        ts = draw(st.integers(0, SPAN_US // GAP_US)) * GAP_US
        steps = st.sampled_from((*draw(st.sampled_from(PACES)), 24 * 3600 * 1_000_000))
        for number, step in enumerate(draw(st.lists(steps, min_size=1, max_size=24))):
            ts = (ts + step) % SPAN_US
            item, category = draw(st.sampled_from(items))
            event = Raw(
                f"u{user}", f"{draw(st.integers(0, 9))}-{user}-{number}", ts, item, category,
                draw(st.sampled_from(sorted(MODES))),
            )  # fmt: skip
            in_time = ts / SPAN_US
            anywhere = st.floats(0, 1, exclude_max=True)
            place = draw(st.sampled_from((in_time, in_time, in_time)) | anywhere)
            arrivals.append(Arrival(event, place, draw(st.none() | st.none() | anywhere)))
    return Example(arrivals)


def drawn(strategy: st.SearchStrategy[Example], number: int) -> list[Example]:
    """A group of examples."""
    bag: list[Example] = []

    @seed(number)
    @settings(
        max_examples=GROUP, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def draw(example: Example) -> None:
        bag.append(example)

    draw()
    return bag


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A warehouse that learned from other users' first days."""
    folder = tmp_path_factory.mktemp("batches")
    generate(replace(SETTINGS, events=20_000), folder / "generated")
    files = sorted((folder / "generated" / "events").iterdir())
    rows = pd.concat(pd.read_csv(file, dtype=str) for file in files)[COLUMNS]
    ts = pd.to_datetime(rows["ts"], utc=True, errors="coerce")
    case = Case(folder, OVERRIDES)
    case.build(case.write(rows[ts < FIRST].drop_duplicates("event_id"), "learned"))
    return case


@pytest.fixture(scope="module")
def items(base: Case) -> list[tuple[str, str]]:
    """Items of several themes, and some that the fit never saw, one in a category that it knows."""
    known = table(base.path(), "bronze/events").groupby("item_id")["category_id"].first()
    chosen = known[known.index.isin(Learned.read(base.path()).items)].sort_index().iloc[::12]
    return [*chosen.items(), (UNSEEN[0][0], chosen.iloc[0]), UNSEEN[1]]


def test_batches_equal_one_build_and_the_definitions(
    base: Case, items: list[tuple[str, str]], tmp_path: Path
) -> None:
    assert check_group(base, items, 0, tmp_path) == {None, True, False}


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("number", range(1, LONG // GROUP + 1))
def test_many_batches(base: Case, items: list[tuple[str, str]], tmp_path: Path, number: int) -> None:
    assert check_group(base, items, number, tmp_path) == {None, True, False}


def faithful(items: list[tuple[str, str]]) -> Example:
    """Someone with sessions of one item each: where they are decided, they are no hops.

    What is drawn need not hold such a one: Hypothesis also tries constants of whatever code is loaded.
    """
    arrivals = []
    for session, size in enumerate((1, 1, 2, 2, 1, 3, 4)):
        for number in range(size):
            ts = session * 2 * GAP_US + number * 60_000_000
            event = Raw("u0", f"{session}-0-{number}", ts, *items[0], "pv")
            arrivals.append(Arrival(event, ts / SPAN_US, None))
    return Example(arrivals)


def check_group(base: Case, items: list[tuple[str, str]], number: int, folder: Path) -> set[bool | None]:
    """Batches one after the other, then everything at once, then the definitions; what hops were found."""
    group = [*drawn(examples(items), number), faithful(items)]
    assert len(group) == GROUP + 1
    case = Case(folder, OVERRIDES)
    shutil.copytree(base.path(), case.path())
    shutil.copytree(base.folder / "learned", folder / "all")
    seen: set[str] = set()
    count = 2 + number % 3
    for batch in range(count):
        rows = batch_rows(group, count, batch)
        source = case.write(rows.sample(frac=1, random_state=number), f"batch-{batch}", files=2)
        waits = number % 2  # events at or after as_of are taken in, and wait
        as_of = FIRST + (LAST - FIRST) * (batch + 1) / count if waits else LAST
        summary = case.build(source, as_of=as_of)
        assert "made_anew" not in summary
        seen |= set(table(case.path(), "silver/sessions")["session_id"])
        for file in source.iterdir():
            shutil.copy(file, folder / "all" / f"{source.name}-{file.name}")
    shutil.copytree(base.path(), case.path("whole"))
    case.build(folder / "all", "whole", full_refresh=True, fit="frozen", as_of=LAST)
    parts, whole = contents(case.path()), contents(case.path("whole"))
    for name in TABLES:
        assert parts[name] == whole[name], name
    gone = seen - set(table(case.path(), "silver/sessions")["session_id"])
    assert gone <= set(table(case.path(), "silver/superseded_sessions")["session_id"])
    return check_definitions(case.path(), group)


def batch_rows(group: list[Example], count: int, batch: int) -> pd.DataFrame:
    """The rows of one batch, as its files hold them; a repeated event comes no earlier than the event."""
    rows = []
    for name, example in enumerate(group):
        for event, place, again in example.arrivals:
            times = {int(place * count)} | ({int(again * count)} if again is not None else set())
            if batch in times:
                rows.append(line(f"e{name}", event))
                if again is not None and len(times) == 1:
                    rows.append(rows[-1])
    return pd.DataFrame(rows, columns=COLUMNS)


def line(prefix: str, event: Raw) -> tuple[str, ...]:
    at = FIRST + timedelta(microseconds=event.ts)
    own = (f"{prefix}-{event.event_id}", f"{prefix}-{event.user}")
    return (*own, event.item, event.category, event.mode, at.isoformat(timespec="microseconds"))


def check_definitions(warehouse: Path, group: list[Example]) -> set[bool | None]:
    """Sessions and sequences of the examples' users, from their events alone; every ``is_hop`` among them."""
    fit = Learned.read(warehouse)
    start = (FIRST - EPOCH) // timedelta(microseconds=1)
    users: dict[str, list[Raw]] = defaultdict(list)
    for name, example in enumerate(group):
        for event, *_ in example.arrivals:
            user = f"e{name}-{event.user}"
            users[user].append(
                event._replace(
                    user=user,
                    event_id=f"e{name}-{event.event_id}",
                    ts=start + event.ts,
                    mode=MODES[event.mode],
                )
            )
    expected = {user: user_rows(events, fit, RULE) for user, events in sorted(users.items())}
    sessions = records(warehouse, "silver/sessions", ("user_id", "ordinal"))
    found = [stored_session(row) for row in sessions if row["user_id"] in users]
    assert found == [session for own, _ in expected.values() for session in own]
    modes = dict(table(warehouse, "silver/event_types")[["index", "mode"]].itertuples(index=False))
    rows = [
        row
        | {"events__type": [modes.get(code, code) for code in row["events__type"]]}
        | {name: in_utc(row[name]) for name in ("first_ts", "last_ts")}
        for row in records(warehouse, "gold/user_sequences", ("user_id", "chunk"))
        if row["user_id"] in users
    ]
    check({user: history for user, (_, history) in expected.items()}, rows, SPEC)
    return {session.tested.is_hop for session in found}


def stored_session(row: dict[str, Any]) -> Session:
    tested = Tested(*(row[name] for name in ("hop_distance", "hop_p", "is_hop", "is_return", "return_lag")))
    start, end = ((in_utc(row[name]) - EPOCH) // timedelta(microseconds=1) for name in ("start_ts", "end_ts"))
    own = (row[name] for name in ("n_events", "first_event_id", "theme_id"))
    return Session(row["user_id"], row["ordinal"], start, end, *own, tested)


def in_utc(at: datetime) -> datetime:
    """A stored time: Spark's Parquet says no zone."""
    return at.replace(tzinfo=UTC)


def records(warehouse: Path, name: str, order: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows of a table in order."""
    rows = read_published_table(str(warehouse), name).to_pylist()
    return sorted(rows, key=lambda row: tuple(row[column] for column in order))
