"""Files that arrive in a folder: taken in once, as a batch job would, whatever happens in between."""

import gzip
import importlib
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import load_config
from pipelines.erasure import EraseRequest, erase_users
from pipelines.erasure.needles import Needles
from pipelines.erasure.scan import scan
from pipelines.errors import ConfigError, LockedError, SeqloomError, SourceError
from pipelines.ingest import ingest
from pipelines.pointer import published
from pipelines.streaming import StreamRequest, stream
from pipelines.streaming.request import CHECKPOINTS
from pipelines.warehouse import Warehouse
from tests.e2e.builds import NOW
from tests.pipelines.ingest_cases import events, rejected
from tests.streaming.cases import CONFIG, Stream

SECOND = 1767225600  # 2026-01-01T00:00:00Z
DAY = 86_400
COLUMNS = ("event_id", "user_id", "item_id", "category_id", "event_type", "mode", "ts")

pytestmark = pytest.mark.usefixtures("spark")


@pytest.fixture
def case(tmp_path: Path) -> Stream:
    return Stream(tmp_path)


@pytest.fixture
def warehouse(spark: Any, case: Stream) -> Warehouse:
    return Warehouse(spark, str(case.warehouse))


def row(number: int, second: int = SECOND, kind: str = "view") -> str:
    return f"u{number},i{number},c1,{kind},{second}"


def test_files_are_taken_in_once_however_often_the_stream_starts(case: Stream, warehouse: Warehouse) -> None:
    """Bad rows are quarantined; a copy in a later batch is a duplicate; an empty file holds nothing."""
    case.arrive_csv("a.csv", [row(1), row(2), row(1), "cut off", row(3, kind="odd")])
    case.arrive("empty.csv", [])
    first = case.run()
    assert {key: first[key] for key in ("batches", "events_in", "events_kept", "duplicates")} == {
        "batches": 1, "events_in": 5, "events_kept": 2, "duplicates": 1,
    }  # fmt: skip
    assert first["rejected"] == {"unknown_event_type": 1, "wrong_field_count": 1}
    assert 0 < first["delay_seconds"]["p50"] <= first["delay_seconds"]["p99"]
    case.arrive_csv("b.csv", [row(2), row(4), "cut off"])
    case.arrive_csv("header-only.csv", [])
    second = case.run()
    assert (second["events_kept"], second["duplicates"], second["rejected"]) == (
        1,
        1,
        {"wrong_field_count": 1},
    )
    third = case.run()
    assert (third["batches"], third["events_in"]) == (0, 0)
    assert [user for (user,) in events(warehouse, "user_id")] == ["u1", "u2", "u4"]
    assert [reason for reason, _ in rejected(warehouse)] == [
        "unknown_event_type", "wrong_field_count", "wrong_field_count",
    ]  # fmt: skip
    pointer = published(str(case.warehouse))
    assert pointer is not None and set(pointer.versions) == {"bronze/events", "bronze/events_rejected"}
    assert pointer.versions["bronze/events"] == warehouse.version("bronze/events")


def test_batches_equal_one_batch_job(case: Stream, spark: Any, tmp_path: Path) -> None:
    """A file a batch, against one ingest of the folder: the same events, the same refused rows."""
    for number in range(3):
        rows = [row(k, SECOND + k) for k in range(number * 4, number * 4 + 6)]
        case.arrive_csv(f"{number}.csv", [*rows, f"broken {number}"])
    assert case.run(max_files=1)["batches"] == 3
    other = Warehouse(spark, str(tmp_path / "other"))
    ingest(other, load_config(case.config, values={"source.path": str(case.arriving)}), "b1", NOW)
    streamed = Warehouse(spark, str(case.warehouse))
    assert events(streamed, *COLUMNS) == events(other, *COLUMNS)
    assert rejected(streamed) == rejected(other)


def test_events_behind_the_watermark_are_late(case: Stream, warehouse: Warehouse) -> None:
    """The watermark moves with each batch; exactly three days behind it is in time."""
    case.arrive_csv("a.csv", [row(1, SECOND + 4 * DAY)])
    case.run()
    case.arrive_csv("b.csv", [row(2, SECOND + DAY), row(3, SECOND + DAY - 1), row(1, SECOND + 4 * DAY)])
    second = case.run()
    assert (second["events_kept"], second["duplicates"], second["rejected"]) == (1, 1, {"late": 1})
    assert rejected(warehouse) == [("late", row(3, SECOND + DAY - 1))]


def test_a_clock_from_the_future_makes_nothing_late(case: Stream) -> None:
    """Ahead of the batch's clock by more than five minutes is refused, and moves no watermark."""
    now = datetime.fromtimestamp(SECOND, NOW.tzinfo)
    case.arrive_csv("a.csv", [row(1), row(2, SECOND + 301), row(3, SECOND + 300)])
    assert case.run(now=now)["rejected"] == {"future": 1}
    pointer = published(str(case.warehouse))
    assert pointer is not None and pointer.watermark == now
    case.arrive_csv("b.csv", [row(4, SECOND - 3 * DAY)])
    assert case.run(now=now + timedelta(minutes=1))["events_kept"] == 1


def test_json_lines_and_parquet_arrive_too(tmp_path: Path, spark: Any) -> None:
    """A small file of JSON lines may lack an optional key, or hold no object at all."""
    lines = Stream(tmp_path, CONFIG.replace('"csv"', '"jsonl"'))
    lines.arrive("a.jsonl", [f'{{"user": "u1", "item": 1, "type": "view", "time": {SECOND}}}'])
    lines.arrive("b.jsonl", ["broken", b"\xff"])
    packed = gzip.compress(f'{{"user": "u2", "item": 2, "type": "buy", "time": {SECOND}}}'.encode())
    (lines.arriving / "c.jsonl.gz").write_bytes(packed)
    found = lines.run()
    assert (found["events_kept"], found["rejected"]) == (2, {"bad_encoding": 1, "broken_json": 1})
    (tmp_path / "p").mkdir()
    table = Stream(tmp_path / "p", CONFIG.replace('"csv"', '"parquet"'))
    columns = {"user": ["u1", None], "item": [1, 2], "category": ["c", "c"], "type": ["view"] * 2}
    pq.write_table(pa.table(columns | {"time": [SECOND] * 2}), table.arriving / "a.parquet")
    found = table.run()
    assert (found["events_kept"], found["rejected"]) == (1, {"missing_user_id": 1})
    assert found["delay_seconds"]["p50"] > 0
    pointer = published(str(table.warehouse))
    assert pointer and pointer.column_kinds["item_id"] == "number"
    pq.write_table(
        pa.table(columns | {"item": ["1", "2"], "time": [SECOND] * 2}), table.arriving / "b.parquet"
    )
    with pytest.raises(SourceError, match=r"column item \(item_id\) is text, but was number"):
        table.run()


def test_a_second_reader_of_a_stream_is_turned_away(case: Stream, warehouse: Warehouse) -> None:
    """It starts while the first has a batch at work, and leaves that alone; the next start may read."""
    case.arrive_csv("a.csv", [row(1)])
    met: list[SeqloomError] = []

    def clock() -> datetime:
        if not met:
            with pytest.raises(LockedError, match="another process reads stream") as second:
                case.run()
            met.append(second.value)
        return NOW

    assert case.run(clock=clock)["events_kept"] == 1
    assert [error.exit_status for error in met] == [4]
    assert case.run()["batches"] == 0
    assert [user for (user,) in events(warehouse, "user_id")] == ["u1"]


def test_erased_users_do_not_come_back_with_a_replay(case: Stream, warehouse: Warehouse) -> None:
    """Their events in a further file, and then, without the checkpoint, all files from the beginning."""
    case.arrive_csv("a.csv", [row(1), row(2), row(1, SECOND + 1, kind="buy")])
    case.run()
    assert erase_users(EraseRequest(str(case.warehouse), ["u1"], now=NOW))["proven"]
    case.arrive_csv("b.csv", [row(1), row(3)])
    again = case.run()
    assert (again["events_kept"], again["duplicates"], again["rejected"]) == (1, 0, {"erased": 1})
    shutil.rmtree(case.warehouse / CHECKPOINTS)
    replay = case.run()
    assert (replay["events_kept"], replay["duplicates"], replay["rejected"]) == (0, 2, {"erased": 3})
    assert [user for (user,) in events(warehouse, "user_id")] == ["u2", "u3"]
    refused = warehouse.read("bronze/events_rejected").select("reason", "raw", "layout", "file").collect()
    assert [tuple(one) for one in refused] == [("erased", None, None, None)] * 4
    assert list(scan(case.warehouse, Needles(["u1"]))) == []


def test_an_unreadable_file_stops_the_stream_until_it_is_taken_away(
    case: Stream, warehouse: Warehouse
) -> None:
    case.arrive_csv("a.csv", [row(1)])
    case.run()
    bad = case.arrive("b.csv", ["who,what", "u,i"])
    case.arrive_csv("c.csv", [row(2)])
    with pytest.raises(SourceError, match=r"b\.csv.*no column user"):
        case.run()
    assert [user for (user,) in events(warehouse, "user_id")] == ["u1"]
    bad.unlink()
    assert case.run()["events_kept"] == 1
    assert [user for (user,) in events(warehouse, "user_id")] == ["u1", "u2"]


@pytest.mark.parametrize("died_in", ["write_rejected", "publish", "_count"])
def test_a_batch_that_died_anywhere_counts_once(
    case: Stream, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, died_in: str
) -> None:
    """Between events and refused rows, before the pointer, and behind it with Spark not yet told."""
    owners = {"write_rejected": "pipelines.ingest.ingest", "publish": "pipelines.streaming.micro_batch"}
    owner = importlib.import_module(owners.get(died_in, "pipelines.streaming.batches"))

    def die(*_: Any) -> None:
        raise SeqloomError("died")

    case.arrive_csv("a.csv", [row(1), row(1), "broken"])
    with monkeypatch.context() as patch:
        patch.setattr(owner if died_in in owners else owner.Batches, died_in, die)
        with pytest.raises(SeqloomError, match=r"^died$"):
            case.run()
    assert len(events(warehouse, "user_id")) == 1, "it died after it wrote events"
    case.arrive_csv("b.csv", [row(2)])
    assert case.run()["batches"] == (1 if died_in == "_count" else 2)
    assert [user for (user,) in events(warehouse, "user_id")] == ["u1", "u2"]
    assert rejected(warehouse) == [("wrong_field_count", "broken")]
    pointer = published(str(case.warehouse))
    assert pointer is not None and [position.duplicates for position in pointer.streams.values()] == [1]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "--config FILE is needed"),
        ({"config": "x", "kafka": "a:1"}, "belong together"),
        ({"config": "x", "kafka": "a:1", "topic": "t", "source": "s"}, "two streams"),
        ({"config": "x", "max_files": 0}, "at least 1"),
        ({"config": "x", "trigger": "soon"}, "--trigger 'soon' is not a duration"),
    ],
)
def test_wrong_arguments_are_named(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stream(StreamRequest(**request_))


def test_a_missing_folder_is_named(case: Stream, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere: no such folder"):
        case.run(source=str(tmp_path / "nowhere"))
