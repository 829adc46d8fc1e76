"""Too late, refused once, tried again: what happens to events that do not get in at first."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.bronze import later_watermark
from pipelines.errors import SourceError
from pipelines.warehouse import Warehouse
from tests.pipelines.ingest_cases import GOOD, HEADER, configure, events, rejected, run, write

SECOND = 1704067200  # 2024-01-01T00:00:00Z
LIMIT = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def warehouse(spark: Any, tmp_path: Path) -> Warehouse:
    return Warehouse(spark, str(tmp_path / "warehouse"))


def row(number: int, second: int, kind: str = "view") -> str:
    return f"u{number},i{number},c1,{kind},{second}"


@pytest.mark.parametrize("source_ids", [False, True])
def test_a_new_event_before_the_limit_is_refused_and_a_known_one_is_not(
    warehouse: Warehouse, tmp_path: Path, source_ids: bool
) -> None:
    """Exactly at the limit is in time; refused rows keep their payload."""
    columns = {"event_id": "item"} if source_ids else {}

    def take(name: str, rows: list[str], **intake: Any) -> Any:
        config = configure(write(tmp_path / name, [HEADER, *rows]))
        source = config.source.model_copy(
            update={"columns": config.source.columns.model_copy(update=columns)}
        )
        return run(warehouse, config.model_copy(update={"source": source}), name, **intake)

    take("first.csv", [row(1, SECOND - 60), row(2, SECOND + 60)])
    late, edge = row(3, SECOND - 1), row(4, SECOND)
    second = take("second.csv", [row(1, SECOND - 60), late, late, edge], late_before=LIMIT)
    assert (second.events_in, second.kept, second.duplicates) == (4, 1, 1)
    assert second.rejected == {"late": 2}
    assert rejected(warehouse) == [("late", late)] * 2
    assert [user for (user,) in events(warehouse, "user_id")] == ["u1", "u2", "u4"]
    third = take("third.csv", [late])
    assert (third.kept, third.rejected) == (1, {}), "without a limit nothing is late"


def test_refused_rows_get_in_once_their_type_is_mapped(warehouse: Warehouse, tmp_path: Path) -> None:
    """Lines of two layouts, one of them no UTF-8, one still without a user, one of a known event."""
    first = write(tmp_path / "source/a.csv", [HEADER, GOOD, row(2, SECOND, "share"), b"u\xff,i,c,share,1"])
    write(tmp_path / "source/b.csv", ["time,type,user,item,category", f'{SECOND},share,u3,"a,b",c1'])
    write(tmp_path / "source/c.csv", [HEADER, ",i9,c1,share,1704067200", row(5, SECOND, "other")])
    config = configure(first.parent)
    run(warehouse, config)
    assert [reason for reason, _ in rejected(warehouse)] == [
        "bad_encoding", "missing_user_id", "unknown_event_type", "unknown_event_type", "unknown_event_type",
    ]  # fmt: skip
    mended = configure(first.parent, source={"event_types": {"view": "browse", "share": "feedback"}})
    again = run(warehouse, mended, "b2", retry=True)
    assert (again.events_in, again.kept, again.duplicates) == (5, 2, 0)
    assert sorted(events(warehouse, "user_id", "item_id", "event_type")) == [
        ("u1", "i1", "view"), ("u2", "i2", "share"), ("u3", "a,b", "share"),
    ]  # fmt: skip
    assert [reason for reason, _ in rejected(warehouse)] == [
        "bad_encoding", "missing_user_id", "unknown_event_type",
    ]  # fmt: skip
    last = run(warehouse, mended, "b3", retry=True)
    assert (last.events_in, last.kept, sum(last.rejected.values())) == (3, 0, 3)
    assert len(rejected(warehouse)) == 3


@pytest.mark.parametrize("kind", ["parquet", "delta"])
def test_a_refused_row_of_types_reads_as_it_would_have(
    warehouse: Warehouse, tmp_path: Path, kind: str
) -> None:
    """Floats, decimals, bytes and microseconds, which JSON writes otherwise than their text reads."""
    times = [datetime(2024, 1, 1, 0, 0, 0, microsecond, tzinfo=UTC) for microsecond in (123_456, 0, 7)]
    table = pa.table(
        {
            "user": [7.0, 2e7, 0.5],
            "item": pa.array([Decimal("1.50"), Decimal("2.00"), Decimal("10.25")], pa.decimal128(10, 2)),
            "category": [b"c1", b"\xc3\xa9", None],
            "type": ["share"] * 3,
            "time": pa.array(times, pa.timestamp("us", tz="UTC")),
        }
    )
    path = tmp_path / "typed"
    if kind == "parquet":
        path.mkdir()
        pq.write_table(table, path / "a.parquet")
    else:
        deltalake.write_deltalake(path, table)
    typed = {"format": kind, "ts_unit": "iso"}
    mended = configure(path, source={**typed, "event_types": {"share": "feedback"}})
    assert run(warehouse, configure(path, source=typed)).rejected == {"unknown_event_type": 3}
    again = run(warehouse, mended, "b2", retry=True)
    assert (again.kept, again.rejected) == (3, {})
    plain = Warehouse(warehouse.spark, str(tmp_path / "plain"))
    assert run(plain, mended).kept == 3
    columns = ("user_id", "item_id", "category_id", "ts", "event_id")
    assert events(warehouse, *columns) == events(plain, *columns)
    assert [user for user, *_ in events(plain, "user_id")] == ["0.5", "20000000", "7"]
    known = run(warehouse, mended, "b3")
    assert (known.kept, known.duplicates, known.conflicts) == (0, 3, 0)


def test_a_retried_row_came_in_time_and_a_late_one_did_not(warehouse: Warehouse, tmp_path: Path) -> None:
    """Whatever the watermark is by now; late rows stay, read by whatever columns."""
    rows = [row(1, SECOND + 9), row(2, SECOND, "share"), row(3, SECOND - 1), row(4, SECOND - 2, "other")]
    path = write(tmp_path / "a.csv", [HEADER, row(0, SECOND)])
    run(warehouse, configure(path))
    write(path, [HEADER, *rows])
    first = run(warehouse, configure(path), "b2", late_before=LIMIT)
    assert first.rejected == {"late": 1, "unknown_event_type": 2}
    mended = configure(path, source={"event_types": {"view": "browse", "share": "feedback"}})
    far = datetime(2024, 1, 9, tzinfo=UTC)
    again = run(warehouse, mended, "b3", retry=True, late_before=far)
    assert (again.events_in, again.kept, again.rejected) == (3, 1, {"late": 1, "unknown_event_type": 1})
    assert [user for (user,) in events(warehouse, "user_id")] == ["u0", "u1", "u2"]
    assert rejected(warehouse) == [("late", rows[2]), ("unknown_event_type", rows[3])]
    unlimited = run(warehouse, mended, "b4", retry=True)
    assert (unlimited.kept, unlimited.rejected) == (0, again.rejected), "late once, late for good"


def test_nothing_refused_is_nothing_to_try_again(warehouse: Warehouse, tmp_path: Path) -> None:
    config = configure(write(tmp_path / "a.csv", [HEADER, GOOD]))
    with pytest.raises(SourceError, match="no row was refused"):
        run(warehouse, config, retry=True)
    run(warehouse, config)
    with pytest.raises(SourceError, match="no row was refused"):
        run(warehouse, config, "b2", retry=True)


@pytest.mark.parametrize(
    ("before", "newest", "now", "expected"),
    [
        (None, None, 5, None),
        (None, 3, 5, 3),
        (4, 3, 5, 4),
        (3, 4, 5, 4),
        (3, 9, 5, 5),  # an event ahead of the clock
        (4, 9, 2, 4),  # a clock that is behind
    ],
)
def test_the_watermark_follows_events_up_to_the_clock_and_never_goes_back(
    before: int | None, newest: int | None, now: int, expected: int | None
) -> None:
    def day(number: int | None) -> datetime | None:
        return None if number is None else datetime(2024, 1, number, tzinfo=UTC)

    clock = day(now)
    assert clock is not None
    assert later_watermark(day(before), day(newest), clock) == day(expected)
