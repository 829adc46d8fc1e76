"""The profile of an unknown log: what it guesses of known layouts, and what it says of unreadable ones."""

import gzip
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from deltalake import write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from features.durations import parse_duration
from pipelines.config.load import load_config, parse_config
from pipelines.config.model import Config
from pipelines.errors import SourceError
from pipelines.profile import profile_source
from pipelines.profile.clock import guess_window, iso, resolution, to_microseconds
from pipelines.profile.figures import GAPS, measure
from pipelines.profile.guess import closeness, depends
from pipelines.profile.names import guess_mode, name_score

CONF = Path(__file__).parents[2] / "conf"
START_S = 1_700_000_000


def shop_log(users: int = 120, sessions: int = 5, seed: int = 3) -> pd.DataFrame:
    """Events of users who come in sessions; category = item % 17; ordered by time."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        for start in rng.integers(0, 9 * 86_400, sessions):
            at = START_S + int(start)
            for _ in range(rng.integers(1, 9)):
                at += int(rng.integers(5, 300))
                item = int(rng.zipf(1.3)) % 400
                rows.append((1_000 + user, 50_000 + item, item % 17 + 900, int(rng.integers(0, 20)), at))
    frame = pd.DataFrame(rows, columns=["user", "item", "category", "dice", "s"])
    return frame.sort_values("s", ignore_index=True)


def typed(frame: pd.DataFrame, names: dict[int, str], default: str) -> pd.Series:
    return frame["dice"].map(lambda dice: names.get(dice, default))


def proposed(path: Path, **known: Any) -> Config:
    """The proposed config, read back by load_config from a file."""
    text = profile_source(str(path), **known).to_toml()
    file = path.parent / f"{path.name}.proposal.toml"
    file.write_text(text, encoding="utf-8")
    return load_config(file)


def essentials(config: Config) -> dict[str, Any]:
    """What decides how rows are read; a headerless file's names are free, their places are not."""
    source = config.source
    columns = {ours: theirs for ours, theirs in source.columns.model_dump().items() if theirs}
    if source.field_names:
        columns = {ours: source.field_names.index(theirs) for ours, theirs in columns.items()}
    return {
        "format": source.format,
        "header": source.header,
        "delimiter": source.delimiter,
        "ts_unit": source.ts_unit,
        "clock": source.clock,
        "columns": columns,
        "event_types": source.event_types,
        "sessions": config.sessions,
    }


def taobao(folder: Path) -> Path:
    log = shop_log().sort_values(["user", "s"])
    log["type"] = typed(log, {0: "buy", 1: "cart", 2: "fav"}, "pv")
    path = folder / "UserBehavior.csv"
    log[["user", "item", "category", "type", "s"]].to_csv(path, header=False, index=False)
    return path


def retailrocket(folder: Path) -> Path:
    log = shop_log()
    log["event"] = typed(log, {0: "transaction", 1: "addtocart"}, "view")
    log["timestamp"] = log["s"] * 1_000 + 123 + log["dice"]
    log["transactionid"] = [str(n) if event == "transaction" else "" for n, event in enumerate(log["event"])]
    path = folder / "events.csv"
    log = log.rename(columns={"user": "visitorid", "item": "itemid"})
    log[["timestamp", "visitorid", "event", "itemid", "transactionid"]].to_csv(path, index=False)
    return path


def rees46(folder: Path) -> Path:
    log = shop_log()
    log["event_type"] = typed(log, {0: "purchase", 1: "cart", 2: "remove_from_cart"}, "view")
    log["event_time"] = pd.to_datetime(log["s"], unit="s").dt.strftime("%Y-%m-%d %H:%M:%S UTC")
    log["category_code"] = log["category"].map(lambda c: f"shop.aisle{c}" if c % 3 else "")
    log["brand"] = log["item"].map(lambda item: f"brand, {item % 5}")
    log["price"] = log["item"].map(lambda item: f"{item % 97 + 0.5:.2f}")
    log["user_session"] = log["user"].astype(str) + "-" + (log["s"] // 7_200).astype(str)
    log = log.rename(columns={"user": "user_id", "item": "product_id", "category": "category_id"})
    path = folder / "2019-Oct.csv"
    names = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"
    log[names.split(",")].to_csv(path, index=False)
    return path


def globo(folder: Path) -> Path:
    log = shop_log()
    start = log.groupby("user")["s"].transform("min")
    path = folder / "clicks.parquet"
    pd.DataFrame(
        {
            "user_id": log["user"],
            "session_id": start * 1_000_000 + log["user"],
            "session_start": start * 1_000,
            "session_size": log.groupby("user")["s"].transform("size"),
            "click_article_id": log["item"],
            "click_timestamp": log["s"] * 1_000 + 7 * log["dice"],
            "click_environment": 4,
            "click_country": log["dice"] % 11,
        }
    ).to_parquet(path, index=False)
    return path


@pytest.mark.parametrize("layout", [taobao, retailrocket, rees46, globo], ids=lambda layout: layout.__name__)
def test_a_published_layout_gives_the_essentials_of_the_shipped_profile(layout: Any, tmp_path: Path) -> None:
    shipped = load_config(CONF / f"{layout.__name__}.toml")
    assert essentials(proposed(layout(tmp_path))) == essentials(shipped)


@pytest.mark.parametrize("form", ["csv", "csv.gz", "tsv", "jsonl", "jsonl.gz", "parquet", "delta", "folder"])
def test_every_format_gives_the_same_columns_and_figures(form: str, tmp_path: Path) -> None:
    log = shop_log().rename(
        columns={"user": "user_id", "item": "item_id", "category": "category_id", "s": "ts"}
    )
    log["event_type"] = typed(log, {0: "buy"}, "view")
    log = log.drop(columns="dice")
    path = tmp_path / f"log.{form}"
    match form:
        case "csv" | "csv.gz":
            log.to_csv(path, index=False)
        case "tsv":
            log.to_csv(path, index=False, sep="\t")
        case "jsonl" | "jsonl.gz":
            log.to_json(path, orient="records", lines=True)
        case "parquet":
            log.to_parquet(path, index=False)
        case "delta":
            write_deltalake(str(path), log)
        case "folder":
            path.mkdir()
            for part in range(3):
                log.iloc[part::3].to_csv(path / f"part-{part}.csv", index=False)
            (path / "_SUCCESS").touch()
    profile = profile_source(str(path))
    expected = {"csv.gz": "csv", "tsv": "csv", "folder": "csv", "jsonl.gz": "jsonl"}.get(form, form)
    assert profile.layout.format == expected
    assert profile.layout.delimiter == ("\t" if form == "tsv" else ",")
    assert profile.roles == {name: name for name in ("user_id", "item_id", "category_id", "event_type", "ts")}
    assert (profile.ts_unit, profile.complete, profile.faults) == ("s", True, {})
    assert (profile.figures.events, profile.figures.users) == (len(log), 120)
    buys = int((log["event_type"] == "buy").sum())
    assert {t.name: (t.rows, t.mode) for t in profile.event_types} == {
        "view": (len(log) - buys, "browse"),
        "buy": (buys, "purchase"),
    }


@pytest.mark.parametrize(
    ("unit", "times"),
    [
        ("s", lambda s: s.astype(str)),
        ("ms", lambda s: (s * 1_000).astype(str)),
        ("us", lambda s: (s * 1_000_000).astype(str)),
        ("s", lambda s: s.map(lambda at: f"{at}.0")),
        ("iso", lambda s: pd.to_datetime(s, unit="s").dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")),
        ("iso", lambda s: pd.to_datetime(s, unit="s").dt.strftime("%Y-%m-%d %H:%M:%S+00:00")),
        ("iso", lambda s: pd.to_datetime(s, unit="s").dt.strftime("%Y-%m-%d %H:%M:%S UTC")),
    ],
)
def test_time_units_are_told_and_read_alike(unit: str, times: Any, tmp_path: Path) -> None:
    log = shop_log()
    log["time"] = times(log["s"])
    path = tmp_path / "log.csv"
    log[["user", "item", "time"]].to_csv(path, index=False)
    profile = profile_source(str(path))
    assert profile.ts_unit == unit
    assert profile.figures.first_ts == int(log["s"].min()) * 1_000_000
    assert profile.figures.last_ts == int(log["s"].max()) * 1_000_000
    assert profile.resolution == "s"


def test_typed_parquet_times_are_iso(tmp_path: Path) -> None:
    log = shop_log()
    log["time"] = pd.to_datetime(log["s"], unit="s", utc=True).dt.tz_convert("Asia/Shanghai")
    path = tmp_path / "log.parquet"
    log[["user", "item", "time"]].to_parquet(path)
    profile = profile_source(str(path))
    assert (profile.ts_unit, profile.figures.first_ts) == ("iso", int(log["s"].min()) * 1_000_000)


def test_a_headerless_file_in_another_order_is_read_by_its_values(tmp_path: Path) -> None:
    log = shop_log(users=300)
    log["type"] = typed(log, {0: "buy"}, "click")
    path = tmp_path / "log.txt"
    log[["s", "category", "item", "type", "user"]].to_csv(path, header=False, index=False, sep="\t")
    config = proposed(path)
    places = {"ts": 0, "category_id": 1, "item_id": 2, "event_type": 3, "user_id": 4}
    assert essentials(config)["columns"] == places
    assert config.source.delimiter == "\t"


def test_days_and_orders_propose_an_ordinal_clock(tmp_path: Path) -> None:
    log = shop_log()
    log["day"] = pd.to_datetime(log["s"] // 86_400 * 86_400, unit="s").dt.strftime("%Y-%m-%d")
    log["step"] = np.arange(len(log))
    for name in ("day", "step"):
        path = tmp_path / f"{name}.csv"
        log[["user", "item", name]].to_csv(path, index=False)
        config = proposed(path)
        assert (config.source.clock, config.source.columns.ts) == ("ordinal", name)
        assert config.sessions.rule == "every_n" and config.sessions.every_n is not None
    assert profile_source(str(tmp_path / "day.csv")).resolution == "d"
    assert profile_source(str(tmp_path / "day.csv")).figures.sessions == ()


def test_unknown_event_types_are_browse_and_marked(tmp_path: Path) -> None:
    log = shop_log()
    log["event_type"] = typed(log, {0: "zap it", 1: "ADD_TO_CART", 2: "3"}, "page_view")
    path = tmp_path / "log.csv"
    log[["user", "item", "event_type", "s"]].rename(columns={"s": "ts"}).to_csv(path, index=False)
    toml = profile_source(str(path)).to_toml()
    types = parse_config(tomllib.loads(toml), "proposal").source.event_types
    assert types == {"zap it": "browse", "ADD_TO_CART": "intent", "3": "browse", "page_view": "browse"}
    marked = {line.split(" = ")[0] for line in toml.splitlines() if "check: its name says no mode" in line}
    assert marked == {'"zap it"', "3"}


def test_outliers_give_a_window_and_are_left_out_of_the_figures(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    s = START_S // 86_400 * 86_400 + rng.integers(0, 3 * 86_400, 20_000)
    s[:7] = 86_400 * 365 * np.arange(31, 38)  # 2000 to 2006
    s[7:9] = 2_100_000_000  # 2036
    log = pd.DataFrame({"user": rng.integers(0, 500, len(s)), "item": rng.integers(0, 900, len(s)), "ts": s})
    path = tmp_path / "log.csv"
    log.to_csv(path, index=False)
    profile = profile_source(str(path))
    window = parse_config(tomllib.loads(profile.to_toml()), "proposal").source.window
    assert profile.figures.events == len(log) - 9
    assert window.start and window.start.isoformat() == "2023-11-14T00:00:00+00:00"
    assert window.end and window.end.isoformat() == "2023-11-17T00:00:00+00:00"


def test_only_the_end_that_has_outliers_is_proposed(tmp_path: Path) -> None:
    path = taobao(tmp_path)
    with path.open("a", encoding="utf-8") as file:
        file.write("1000,50001,901,pv,1000000000\n")
    window = proposed(path).source.window
    assert window.start is not None and window.end is None


def test_bad_rows_are_counted_and_the_rest_is_profiled(tmp_path: Path) -> None:
    path = taobao(tmp_path)
    good = path.read_bytes()
    rows = good.count(b"\n")
    broken = b'9,"two\nlines, and ""quotes""",3,pv,1700000000\n\xff\xfe,5,5,pv,1700000000\n1,2,3,pv,never\n'
    path.write_bytes(good + broken + b",7,7,pv,1700000000\n100370,531979,33")
    profile = profile_source(str(path))
    assert profile.rows_scanned == rows + 4
    assert profile.faults == {"wrong number of fields": 1, "bytes that are not UTF-8": 1}
    assert profile.unusable == {"unreadable time": 1, "null user or item": 1}
    assert profile.figures.events == rows + 2


def test_other_schemas_in_a_folder_are_left_out_and_counted(tmp_path: Path) -> None:
    log = shop_log().rename(columns={"s": "ts"})
    log.to_csv(tmp_path / "a.csv", index=False)
    log.rename(columns={"item": "sku"}).iloc[:10].to_csv(tmp_path / "b.csv", index=False)
    (tmp_path / "c.json").write_text('{"user": 1}\n', encoding="utf-8")
    profile = profile_source(str(tmp_path))
    assert profile.faults == {"in a file with another header": 10}
    assert any("jsonl" in note for note in profile.notes)


def test_files_with_their_columns_in_another_order_and_stray_headers_are_read(tmp_path: Path) -> None:
    log = shop_log().rename(columns={"s": "ts"})
    first = log.iloc[::2].to_csv(index=False)
    (tmp_path / "a.csv").write_text(first + first.splitlines()[0] + "\n", encoding="utf-8")
    log.iloc[1::2, ::-1].to_csv(tmp_path / "b.csv", index=False)
    profile = profile_source(str(tmp_path))
    assert (profile.figures.events, profile.faults) == (len(log), {})
    assert (profile.figures.users, profile.figures.items) == (log["user"].nunique(), log["item"].nunique())


def test_gzip_under_a_plain_name_is_read_and_noted(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", gzip.compress(taobao(tmp_path).read_bytes()))
    profile = profile_source(str(path))
    assert profile.roles["user_id"] == "column_1"
    assert any("rename it to end in .gz" in note for note in profile.notes)


def test_a_large_log_is_sampled_by_whole_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for 500 rows, the users kept are complete although the log is ordered by time."""
    monkeypatch.setattr("pipelines.profile.sample.HEAD_ROWS", 500)
    monkeypatch.setattr("pipelines.profile.batches.BATCH", 200)
    log = shop_log(users=400).rename(columns={"s": "ts"})
    path = tmp_path / "log.csv"
    log.to_csv(path, index=False)
    monkeypatch.setattr("pipelines.profile.sample.read_head.__defaults__", (500,))
    profile = profile_source(str(path))
    assert profile.rows_scanned == len(log) and profile.complete and profile.user_share < 1
    assert 0 < profile.figures.events <= 500
    mean = profile.figures.events / profile.figures.users
    assert mean == pytest.approx(len(log) / 400, rel=0.25)


def test_the_session_key_of_the_source_is_offered_but_not_used(tmp_path: Path) -> None:
    profile = profile_source(str(rees46(tmp_path)))
    assert profile.roles["session_key"] == "user_session"
    assert '# session_key = "user_session"' in profile.to_toml()
    assert profile.figures.source_sessions and profile.figures.source_sessions_with_gap_share is not None


def test_json_is_plain_and_holds_the_config(tmp_path: Path) -> None:
    profile = profile_source(str(retailrocket(tmp_path)))
    plain = json.loads(json.dumps(profile.to_json(), allow_nan=False))
    assert plain["config"] == profile.to_toml()
    assert plain["figures"]["first_ts"].startswith("2023-11-")
    assert [row["gap"] for row in plain["figures"]["sessions"]] == list(GAPS)


def test_text_shows_columns_guesses_and_sessions(tmp_path: Path) -> None:
    text = profile_source(str(taobao(tmp_path))).to_text()
    for part in ("without header", "column_2  item_id", "30min", "buy ", "purchase"):
        assert part in text


def test_a_strange_name_still_gives_valid_toml(tmp_path: Path) -> None:
    log = shop_log()
    log["event"] = typed(log, {0: 'say "hi"\\ #1\x7f', 1: "ünter\tstrich"}, "view")
    path = tmp_path / 'my "log" #1.csv'
    log[["user", "item", "event", "s"]].rename(columns={"s": "time ☃"}).to_csv(path, index=False)
    config = proposed(path)
    assert config.source.path == str(path)
    assert set(config.source.event_types) == {'say "hi"\\ #1\x7f', "ünter\tstrich", "view"}


def test_given_columns_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    shop_log().rename(columns={"user": "a", "item": "b", "s": "c"})[["a", "b", "c"]].to_csv(path, index=False)
    assert profile_source(str(path), columns={"item_id": "b"}).roles == {
        "ts": "c",
        "user_id": "a",
        "item_id": "b",
    }
    with pytest.raises(SourceError, match="no column 'nope' for item_id; columns: a, b, c"):
        profile_source(str(path), columns={"item_id": "nope"})


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


ROWS = b"".join(b"%d,%d,%d\n" % (n % 7, n % 90, START_S + 60 * n) for n in range(500))
LONELY = b"".join(b"%d,%d,%d\n" % (n, n % 9, START_S + n * 9_999) for n in range(500))
BAD: dict[str, tuple[Any, str]] = {
    "missing path": (lambda d: d / "none.csv", "none.csv: no such file or folder"),
    "remote path": (lambda d: "s3://bucket/log", "only local paths"),
    "empty file": (lambda d: write(d / "log.csv", b""), "log.csv: the file is empty"),
    "empty folder": (lambda d: d, "the folder holds no data files"),
    "blank lines": (lambda d: write(d / "log.csv", b"\n\n"), "no delimiter"),
    "header only": (lambda d: write(d / "log.csv", b"user_id,item_id,ts\n"), "a header without rows"),
    "one column": (lambda d: write(d / "log.csv", b"hello\nworld\n"), "no delimiter splits it"),
    "zip": (lambda d: write(d / "log.csv", b"PK\x03\x04zip"), "a zip archive; unpack it"),
    "utf-16": (lambda d: write(d / "log.csv", "a,b\n1,2\n".encode("utf-16")), "convert it to UTF-8"),
    "binary": (lambda d: write(d / "log.csv", b"a\x00\x01\x02"), "binary data"),
    "array": (lambda d: write(d / "log.json", b'[{"a": 1}]'), "one object per line"),
    "damaged gzip": (
        lambda d: write(d / "log.csv.gz", gzip.compress(ROWS)[:-20]),
        "the gzip stream is damaged",
    ),
    "no parquet": (lambda d: write(d / "log.parquet", ROWS), "not a Parquet file"),
    "cut parquet": (lambda d: write(d / "log.parquet", b"PAR1" + ROWS), "not readable as Parquet"),
    "no time": (
        lambda d: write(d / "log.csv", b"user_id,item_id\n" + b"1,2\n" * 9),
        "no column looks like ts",
    ),
    "no item": (
        lambda d: write(d / "log.csv", b"user_id,thing,ts\n" + ROWS),
        r"looks like item_id .*columns: user_id, thing, ts; name it with --set source.columns.item_id",
    ),
    "no user": (
        lambda d: write(d / "log.csv", b"x,item_id,ts\n" + LONELY),
        "no column looks like user_id",
    ),
    "american dates": (
        lambda d: write(d / "log.csv", b"user_id,item_id,ts\n" + b"1,2,12/31/2019 10:00\n" * 9),
        "column ts holds dates that are not ISO 8601 .*rewrite them",
    ),
    "nanoseconds": (
        lambda d: write(d / "log.csv", b"user_id,item_id,ts\n" + b"1,2,1700000000000000000\n" * 9),
        "column ts holds nanoseconds",
    ),
    "nothing in JSON": (
        lambda d: write(d / "log.jsonl", b"{oops\n{nope\n"),
        "no rows could be read as jsonl",
    ),
    "no users": (lambda d: write(d / "log.csv", b"user_id,item_id,ts\n" + b",2,1700000000\n" * 9), "user_id"),
    "header twice": (
        lambda d: write(d / "log.csv", b"id,id,ts\n" + ROWS),
        "the header names a column twice: id, id, ts",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_an_unreadable_source_is_one_clear_line(fault: str, tmp_path: Path) -> None:
    make, message = BAD[fault]
    with pytest.raises(SourceError, match=message) as raised:
        profile_source(str(make(tmp_path)))
    assert "\n" not in str(raised.value) and raised.value.exit_status == 2


def test_a_wrong_format_is_said() -> None:
    with pytest.raises(SourceError, match="format 'xml' is unknown; use one of csv, jsonl, parquet, delta"):
        profile_source(".", "xml")


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 4), st.sampled_from([0, 60, 1799, 1800, 1801, 4000])),
        min_size=1,
        max_size=40,
    )
)
def test_figures_agree_with_a_plain_count(rows: list[tuple[int, int, int]]) -> None:
    """Oracle: one user after the other, event by event; a gap equal to the limit does not cut."""
    frame = pd.DataFrame(rows, columns=["u", "i", "step"])
    ts = frame["step"].cumsum().to_numpy(dtype=np.int64) * 1_000_000
    found = measure(frame["u"], frame["i"], None, ts, session=None, real_clock=True)
    histories: dict[int, list[int]] = {}
    for (user, _, _), at in zip(rows, ts.tolist(), strict=True):
        histories.setdefault(user, []).append(at)
    for figures in found.sessions:
        lengths = []
        for history in histories.values():
            history.sort()
            for place, at in enumerate(history):
                if place and at - history[place - 1] <= parse_duration(figures.gap):
                    lengths[-1] += 1
                else:
                    lengths.append(1)
        assert figures.sessions == len(lengths)
        assert figures.one_event_share == pytest.approx(sum(n == 1 for n in lengths) / len(lengths))
        assert figures.median_events == np.median(lengths)
    tied = sum(history.count(at) > 1 for history in histories.values() for at in history)
    assert found.equal_times_share == pytest.approx(tied / len(rows))
    events = [(user, item, at) for (user, item, _), at in zip(rows, ts.tolist(), strict=True)]
    assert found.duplicates_share == pytest.approx(1 - len(set(events)) / len(events))
    assert found.repeated_items_share == pytest.approx(1 - len({e[:2] for e in events}) / len(events))


def test_resolution_is_the_coarsest_grid_even_when_shifted() -> None:
    day, hour = 86_400_000_000, 3_600_000_000
    assert resolution(np.arange(50) * day) == "d"
    assert resolution(np.arange(50) * day + 16 * hour) == "d"
    assert resolution(np.arange(50) * 7_000_000) == "s"
    assert resolution(np.arange(50) * 7_000_003) == "us"


def test_a_window_needs_few_outliers_far_away() -> None:
    hour = 3_600_000_000
    bulk = np.repeat(np.arange(100) * hour, 100) + 10**15 // hour * hour
    assert guess_window(bulk) is None
    assert guess_window(np.r_[bulk, np.zeros(500, dtype=np.int64)]) is None
    assert guess_window(np.r_[bulk, bulk[-1] + hour]) is None  # the next hour has just begun
    found = guess_window(np.r_[bulk, np.zeros(50, dtype=np.int64)])
    assert found is not None
    assert (found.start, found.before, found.after) == (int(bulk[0]), 50, 0)


def test_times_that_would_overflow_are_unreadable() -> None:
    ts, readable = to_microseconds(pd.Series(["1700000000", "99999999999999999999", "x", None, "inf"]), "s")
    assert ts.tolist() == [1_700_000_000_000_000, 0, 0, 0, 0]
    assert readable.tolist() == [True, False, False, False, False]
    assert iso(9 * 10**18) == f"{9 * 10**18} µs"


def test_depends_tells_a_function_from_none() -> None:
    item = np.array([0, 0, 1, 1, 2, 2, 3])
    assert depends(item, np.array([5, 5, 6, 6, 5, 5, 9])) == (1.0, 6)
    assert depends(item, np.array([0, 1, 0, 1, 0, 1, 0]))[0] == 0.5
    assert depends(np.arange(5), np.arange(5)) == (0.0, 0)


def test_closeness_is_of_users_not_of_frequent_values() -> None:
    log = shop_log(users=300)
    ts = log["s"].to_numpy() * 1_000_000
    every = np.ones(len(log), dtype=bool)
    assert closeness(log["user"].to_numpy() - 1_000, ts, every) > 0.4
    assert abs(closeness(log["dice"].to_numpy(), ts, every)) < 0.1


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("pv", "browse"), ("page_view", "browse"), ("Click", "browse"), ("addToCart", "intent"),
        ("fav", "intent"), ("wishlist", "intent"), ("buy", "purchase"), ("transaction", "purchase"),
        ("order", "purchase"), ("rating", "feedback"), ("remove_from_cart", "feedback"),
        ("dislike", "feedback"), ("zap", None), ("1", None),
    ],
)  # fmt: skip
def test_modes_by_name(name: str, mode: str | None) -> None:
    assert guess_mode(name) == mode


def test_names_of_session_starts_are_no_event_times() -> None:
    assert name_score("ts", "session_start_time") < name_score("ts", "click_timestamp")
    assert name_score("session_key", "session_start") < 0.5 < name_score("session_key", "user_session")
