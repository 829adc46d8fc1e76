"""The generator: what is written, and whether the truth beside it is true."""

import csv
import gzip
import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines.errors import ConfigError
from pipelines.synthetic.generate import generate
from pipelines.synthetic.history import cut, returns
from pipelines.synthetic.settings import Settings
from pipelines.synthetic.users import simulate
from pipelines.synthetic.world import build_world

SMALL = Settings(
    events=20_000, bots=0.02, bot_events=2_000, shard_events=6_000, malformed=0.03, duplicates=0.02
)
COLUMNS = ["event_id", "user_id", "item_id", "category_id", "event_type", "ts"]
TYPES = {"pv", "cart", "fav", "buy"}


def written(folder: Path) -> list[dict]:
    """Every row of every file, in the order of the files; a line that cannot be read is ``{}``."""
    rows: list[dict] = []
    for file in sorted((folder / "events").iterdir()):
        if file.name.endswith(".parquet"):
            rows += pq.read_table(file).to_pylist()
        elif ".csv" in file.name:
            text = (
                gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
            ).decode()
            head, *lines = csv.reader(text.splitlines())
            assert head == COLUMNS
            rows += [dict(zip(head, (x or None for x in line), strict=False)) for line in lines]
        elif ".jsonl" in file.name:
            for line in file.read_text().splitlines():
                try:
                    rows.append(json.loads(line))
                except json.JSONDecodeError:
                    rows.append({})
    return rows


def seconds(ts: object) -> int | None:
    try:
        return int(datetime.fromisoformat(str(ts)).timestamp())
    except ValueError:
        return None


def fault(row: dict, settings: Settings) -> str | None:
    """What is wrong with a row, read as a person would read it."""
    if len(row) < len(COLUMNS):
        return "truncated"
    if row["user_id"] is None or row["item_id"] is None:
        return "null_id"
    if row["event_type"] not in TYPES:
        return "unknown_type"
    at = seconds(row["ts"])
    if at is None:
        return "bad_ts"
    if at >= datetime(2037, 1, 1, tzinfo=UTC).timestamp():
        return "future"
    return None if settings.start_s <= at < settings.end_s else "out_of_window"


def valid(folder: Path, settings: Settings) -> list[dict]:
    """Valid rows, once each, by user and time."""
    rows = {r["event_id"]: r for r in written(folder) if fault(r, settings) is None}
    return sorted(rows.values(), key=lambda r: (r["user_id"], seconds(r["ts"]), r["event_id"]))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("synthetic") / "csv"
    return out, dict(generate(SMALL, out))


def digest(folder: Path) -> dict[str, str]:
    files = (f for f in folder.rglob("*") if f.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_the_seed_decides_every_byte_and_the_workers_none(made: tuple[Path, dict], tmp_path: Path) -> None:
    assert SMALL.shards == 4
    generate(SMALL, tmp_path / "again", workers=3)
    assert digest(tmp_path / "again") == digest(made[0])
    generate(replace(SMALL, seed=8), tmp_path / "other")
    assert not set(digest(tmp_path / "other" / "events").values()) & set(digest(made[0] / "events").values())


def test_true_sessions_are_those_of_the_rule_on_the_written_events(made: tuple[Path, dict]) -> None:
    folder, summary = made
    sessions: list[tuple] = []
    ordinals: dict[str, tuple[int, int]] = {}
    user, ordinal, position, times = None, 0, 0, []
    for row in valid(folder, SMALL):
        at = seconds(row["ts"])
        if row["user_id"] != user:
            user, ordinal, position, times = row["user_id"], 0, 0, []
        if not times or at - times[-1] > 1800 or at - times[0] > 86400:
            ordinal, times = ordinal + 1, []
            sessions.append((user, ordinal, times))
        times.append(at)
        position += 1
        ordinals[row["event_id"]] = (position, ordinal)
    expected = [(u, o, t[0], t[-1], len(t)) for u, o, t in sessions]
    truth = pq.read_table(folder / "truth" / "sessions.parquet").to_pylist()
    assert sorted(expected) == sorted(
        (s["user_id"], s["ordinal"], s["start"].timestamp(), s["end"].timestamp(), s["n_events"])
        for s in truth
    )
    events = pq.read_table(folder / "truth" / "events.parquet").to_pylist()
    assert {e["event_id"]: (e["ordinal"], e["session"]) for e in events} == ordinals
    assert len(ordinals) == summary["events"] == SMALL.events
    assert len(expected) == summary["sessions"]
    assert {u for u, _, _ in sessions} == {str(1_000_000 + i) for i in range(SMALL.n_users)}


def test_gaps_and_spans_reach_the_limits(made: tuple[Path, dict]) -> None:
    events = simulate(replace(SMALL, events=100_000, shard_events=100_000), build_world(SMALL), 0).events
    same = events.user[1:] == events.user[:-1]
    gap, cuts = np.diff(events.ts)[same], (events.session[1:] != events.session[:-1])[same]
    assert (gap == 1800).sum() > 20 and not cuts[gap == 1800].any()
    assert (gap == 1801).sum() > 3 and cuts[gap == 1801].all()
    assert (gap >= 0).all() and (gap == 0).any()
    assert (cuts & (gap <= 1800)).any(), "no session of a bot was cut at 24 h"


def test_hops_and_returns_follow_from_the_themes(made: tuple[Path, dict]) -> None:
    folder, summary = made
    truth = sorted(
        pq.read_table(folder / "truth" / "sessions.parquet").to_pylist(),
        key=lambda s: (s["user_id"], s["ordinal"]),
    )
    history: dict[str, list[int]] = defaultdict(list)
    for s in truth:
        before = history[s["user_id"]]
        if s["is_bot"] or not before:
            expected = (None, None, None)
        elif s["theme"] == before[-1]:
            expected = (False, False, None)
        elif s["theme"] in before:
            expected = (True, True, before[::-1].index(s["theme"]))
        else:
            expected = (True, False, None)
        assert (s["is_hop"], s["is_return"], s["return_lag"]) == expected
        before.append(s["theme"])
    assert sum(bool(s["is_hop"]) for s in truth) == summary["hops"] > 500
    assert sum(bool(s["is_return"]) for s in truth) == summary["returns"] > 300


@pytest.mark.parametrize(
    ("themes", "hops", "lags"),
    [
        ("A", ".", {}),
        ("AA", "..", {}),
        ("ABA", ".hr", {2: 1}),
        ("ABBCA", ".h.hr", {4: 3}),
        ("ABAB", ".hrr", {2: 1, 3: 1}),
        ("ABCAAB", ".hhr.r", {3: 2, 5: 3}),
    ],
)
def test_returns_by_example(themes: str, hops: str, lags: dict[int, int]) -> None:
    letters = np.array([ord(c) for c in themes])
    # Twice, as two users: the second knows nothing of the first.
    user = np.repeat([0, 1], len(themes))
    hop, back, lag = returns(user, np.r_[letters, letters])
    marks = ["r" if r else "h" if h else "." for h, r in zip(hop, back, strict=True)]
    assert "".join(marks) == hops * 2
    assert {i: int(x) for i, x in enumerate(lag[: len(themes)]) if x >= 0} == lags


@given(st.lists(st.sampled_from([0, 1, 1799, 1800, 1801, 40_000, 86_400]), max_size=120))
@hypothesis_settings(deadline=None)
def test_cut_is_greedy(gaps: list[int]) -> None:
    ts = np.cumsum([0, *gaps])
    sizes, first = [0], ts[0]
    for previous, at in zip(np.r_[ts[0], ts[:-1]], ts, strict=True):
        if at - previous > 1800 or at - first > 86_400:
            sizes.append(0)
            first = at
        sizes[-1] += 1
    assert cut(ts).tolist() == sizes


def test_every_format_holds_the_same_events(made: tuple[Path, dict], tmp_path: Path) -> None:
    expected = valid(made[0], SMALL)
    for name, options in {
        "jsonl": {"format": "jsonl"},
        "gzip": {"gzip": True},
        "parquet": {"format": "parquet"},
        "delta": {"format": "delta"},
    }.items():
        summary = generate(replace(SMALL, **options), tmp_path / name)
        if name == "delta":
            files = DeltaTable(tmp_path / name / "events").file_uris()
            assert len(files) == summary["files"] == len(list((tmp_path / name / "events").glob("*.parquet")))
            (tmp_path / name / "events" / "_delta_log").rename(tmp_path / "log")
        assert valid(tmp_path / name, SMALL) == expected, name


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1_000), ("us", 1_000_000)])
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_time_units(made: tuple[Path, dict], tmp_path: Path, unit: str, factor: int, form: str) -> None:
    generate(replace(SMALL, ts_unit=unit, format=form), tmp_path / unit)
    expected = {r["event_id"]: seconds(r["ts"]) for r in valid(made[0], SMALL)}
    found = {r["event_id"]: r["ts"] for r in written(tmp_path / unit) if r.get("event_id") in expected}
    assert {key: int(ts) / factor for key, ts in found.items()} == expected
    if form != "csv":
        assert all(isinstance(ts, int) for ts in found.values())


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_faulty_rows_are_as_many_as_stated(form: str, tmp_path: Path) -> None:
    settings = replace(SMALL, format=form)
    summary = generate(settings, tmp_path / "out")
    rows = written(tmp_path / "out")
    counts = Counter(fault(row, settings) for row in rows)
    kept = counts.pop(None)
    assert counts == summary["malformed"]
    assert counts.total() == 600 and len(counts) == (5 if form == "parquet" else 6)
    assert kept == 20_000 + summary["duplicates"] and summary["duplicates"] == 400
    assert len(rows) == summary["rows_written"]


def test_late_rows_stand_one_or_two_files_later(tmp_path: Path) -> None:
    settings = replace(SMALL, late=0.05, duplicates=0, malformed=0)
    summary = generate(settings, tmp_path / "out")
    delays: Counter[int] = Counter()
    for file in (tmp_path / "out" / "events").iterdir():
        for row in csv.DictReader(file.read_text().splitlines()):
            delays[int(file.name[6:10]) - (seconds(row["ts"]) - settings.start_s) // 86_400] += 1
    assert set(delays) == {0, 1, 2}
    assert delays[1] + delays[2] == summary["late"] == 1_000


def first_steps(chain: str, **options: object) -> np.ndarray:
    """Steps along the chain from a theme's last event to its first event in a later session."""
    settings = Settings(events=30_000, off_theme=0, jump=0, bots=0, chain=chain, **options)
    world = build_world(settings)
    events, sessions = simulate(settings, world, 0)
    place = {item: i for row in world.chain.tolist() for i, item in enumerate(row)}
    left: dict[tuple[int, int], int] = {}
    steps = []
    for user, s, item in zip(
        events.user.tolist(), events.session.tolist(), events.item.tolist(), strict=True
    ):
        theme = int(sessions.theme[s])
        assert item in world.chain[theme]
        if (user, theme) in left and left[user, theme][1] != s:
            steps.append((place[item] - left[user, theme][0]) % settings.items_per_theme)
        left[user, theme] = (place[item], s)
    return np.array(steps)


@pytest.mark.parametrize("per_user", [1, 5])
def test_the_chain_resumes_where_the_user_left_it(per_user: int) -> None:
    steps = first_steps("resume", themes_per_user=per_user)
    assert len(steps) > 1_000 and set(steps.tolist()) == {1, 2, 3}


def test_a_restarted_chain_begins_anywhere() -> None:
    steps = first_steps("restart")
    assert len(steps) > 1_000
    assert np.isin(steps, [1, 2, 3]).mean() < 0.03  # 3 of 200 places by chance


def test_purchases_follow_a_cart_of_the_same_item(made: tuple[Path, dict]) -> None:
    carts, bought = set(), 0
    rows = valid(made[0], SMALL)
    for row in rows:
        if row["event_type"] == "cart":
            carts.add((row["user_id"], row["item_id"]))
        if row["event_type"] == "buy":
            bought += 1
            assert (row["user_id"], row["item_id"]) in carts
    assert bought > 100
    # So that ids derived from user, item, type and time name the same events.
    assert len({(r["user_id"], r["item_id"], r["event_type"], r["ts"]) for r in rows}) == len(rows)


def test_items_know_their_themes(tmp_path: Path) -> None:
    settings = replace(SMALL, theme_overlap=0.2, events=30_000, shard_events=30_000)
    generate(settings, tmp_path / "out")
    items = pq.read_table(tmp_path / "out" / "truth" / "items.parquet").to_pylist()
    themes = {i["item_id"]: i["themes"] for i in items}
    assert 0.1 < np.mean([len(t) > 1 for t in themes.values()]) < 0.3
    category = {i["item_id"]: i["category_id"] for i in items}
    truth = {
        e["event_id"]: e for e in pq.read_table(tmp_path / "out" / "truth" / "events.parquet").to_pylist()
    }
    for row in valid(tmp_path / "out", settings):
        assert category[row["item_id"]] == row["category_id"]
        event = truth[row["event_id"]]
        if not event["off_theme"]:
            assert event["theme"] in themes[row["item_id"]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"events": 0}, "--events is 0; it must be at least 1"),
        ({"off_theme": 1.5}, "--off-theme is 1.5; it must be between 0 and 1"),
        ({"themes": 3}, "--themes-per-user is 5; it must be at most themes (3)"),
        ({"format": "avro"}, "--format is avro; it must be csv | jsonl | parquet | delta"),
        ({"format": "parquet", "gzip": True}, "--gzip is for csv and jsonl"),
        ({"users": 10, "events": 100_000}, "raise --users or --days"),
        ({"users": 11, "events": 10}, "leaves some without an event"),
        ({"bots": 0.5}, "over half of all"),
    ],
)
def test_contradictory_settings_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Settings(**options)
    assert message in str(error.value)


@pytest.mark.parametrize("options", [
    {"events": 1}, {"events": 3, "users": 3}, {"events": 50, "users": 20}, {"events": 2_000, "days": 1},
    {"events": 2_000, "session_length": 50.0}, {"events": 500, "themes": 1, "themes_per_user": 1},
    {"events": 5_000, "users": 16}, {"events": 2_000, "hop_probability": 1.0, "off_theme": 1.0},
])  # fmt: skip
def test_odd_sizes_keep_the_rules(options: dict, tmp_path: Path) -> None:
    settings = Settings(**options)
    events, sessions = simulate(settings, build_world(settings), 0)
    assert len(events.ts) == settings.events == sessions.size.sum()
    assert events.ts.min() >= settings.start_s and events.ts.max() < settings.end_s
    for user in range(settings.n_users):
        assert cut(events.ts[events.user == user]).tolist() == sessions.size[sessions.user == user].tolist()
    assert generate(settings, tmp_path / "out")["events"] == settings.events


def cosine(a: Counter, b: Counter) -> float:
    dot = sum(n * b[c] for c, n in a.items())
    return dot / float(np.sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values())))


def test_defaults_look_like_taobao() -> None:
    """Measured on UserBehavior.csv with the same definitions: 30 min gap, category histograms, cosine.

    Within is 0.58 over sessions of two events or more and 0.66 over four or more; the default lies between.
    """
    settings = Settings(events=200_000, bots=0)
    world = build_world(settings)
    events, sessions = simulate(settings, world, 0)
    groups = np.split(world.item_category[events.item], np.cumsum(sessions.size)[:-1])
    shares = np.histogram(sessions.size, [1, 2, 3, 5, 9, 17, 1000])[0] / len(groups)
    assert shares == pytest.approx([0.310, 0.141, 0.177, 0.170, 0.120, 0.081], abs=0.05)
    assert len(groups) / settings.n_users == pytest.approx(17.3, abs=1)

    halves = [cosine(Counter(g[::2].tolist()), Counter(g[1::2].tolist())) for g in groups if len(g) > 1]
    assert 0.66 - 0.05 <= np.mean(halves) <= 0.58 + 0.05
    histograms = [Counter(g.tolist()) for g in groups]
    adjacent = [
        cosine(histograms[i - 1], histograms[i])
        for i in range(1, len(groups))
        if sessions.user[i] == sessions.user[i - 1]
    ]
    assert np.mean(adjacent) == pytest.approx(0.21, abs=0.05)
    assert np.mean([x == 0 for x in adjacent]) == pytest.approx(0.63, abs=0.05)
    pairs = np.random.default_rng(0).integers(0, len(groups), (20_000, 2))
    apart = [cosine(histograms[i], histograms[j]) for i, j in pairs if sessions.user[i] != sessions.user[j]]
    assert np.mean(apart) == pytest.approx(0.015, abs=0.01)
