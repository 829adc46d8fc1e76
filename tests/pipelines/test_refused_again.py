"""Refused rows that are read again: quarantine holds each once, and no run is judged by another's."""

import importlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.ingest import IngestResult
from pipelines.warehouse import Warehouse
from tests.pipelines.ingest_cases import GOOD, HEADER, configure, rejected, run, write

SECOND = 1704067200  # 2024-01-01T00:00:00Z
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def warehouse(spark: Any, tmp_path: Path) -> Warehouse:
    return Warehouse(spark, str(tmp_path / "warehouse"))


def row(user: str, day: int, kind: str = "view") -> str:
    return f"{user},i,c,{kind},{SECOND + day * 86_400 + 60}"


def batches(warehouse: Warehouse) -> list[tuple[str, str, str]]:
    """``(raw, reason, batch_id)`` of refused rows, sorted."""
    rows = warehouse.read("bronze/events_rejected").collect()
    return sorted((row.raw, row.reason, row.batch_id) for row in rows)


def counts(result: IngestResult) -> tuple[int, int, int, int, dict[str, int]]:
    assert result.events_in == result.kept + result.duplicates + sum(result.rejected.values())
    return result.events_in, result.kept, result.duplicates, result.refused_before, result.rejected


def test_a_growing_folder_brings_a_refused_row_once(warehouse: Warehouse, tmp_path: Path) -> None:
    """Three days with a lookback of one: what has no time is read every day, an unknown type twice."""
    source = tmp_path / "source"
    arrivals = [
        ["cut,off", "cut,off", row("u1", 0), row("u1", 0, "odd"), "u1,i,c,view,never"],
        ["cut,off", row("u2", 1)],
        [row("u3", 2)],
    ]
    found = []
    for day, lines in enumerate(arrivals):
        write(source / f"{day}.csv", [HEADER, *lines])
        window = {"start": FIRST + (day - 1) * DAY, "end": FIRST + (day + 1) * DAY}
        found.append(counts(run(warehouse, configure(source), f"b{day}", **window)))
    assert found == [
        (5, 1, 0, 0, {"bad_ts": 1, "unknown_event_type": 1, "wrong_field_count": 2}),
        (7, 1, 5, 4, {"wrong_field_count": 1}),  # an equal line, but of another file
        (6, 1, 5, 4, {}),
    ]
    assert batches(warehouse) == [
        ("cut,off", "wrong_field_count", "b0"),
        ("cut,off", "wrong_field_count", "b0"),
        ("cut,off", "wrong_field_count", "b1"),
        (row("u1", 0, "odd"), "unknown_event_type", "b0"),
        ("u1,i,c,view,never", "bad_ts", "b0"),
    ]


def test_a_late_row_is_refused_once(warehouse: Warehouse, tmp_path: Path) -> None:
    """And is known whatever it is refused for: here its type first, then its time."""
    source = tmp_path / "source"
    write(source / "a.csv", [HEADER, row("u1", 5), row("u2", 0, "odd")])
    run(warehouse, configure(source), "b1")
    write(source / "b.csv", [HEADER, row("u3", 0)])
    mended = configure(source, source={"event_types": {"view": "browse", "odd": "feedback"}})
    limit = {"late_before": FIRST + 2 * DAY}
    assert counts(run(warehouse, mended, "b2", **limit)) == (3, 0, 2, 1, {"late": 1})
    assert counts(run(warehouse, mended, "b3", **limit)) == (3, 0, 3, 2, {})
    assert [(reason, batch) for _, reason, batch in batches(warehouse)] == [
        ("unknown_event_type", "b1"), ("late", "b2"),
    ]  # fmt: skip


def test_a_batch_under_another_id_changes_no_refused_row(warehouse: Warehouse, tmp_path: Path) -> None:
    """Bytes that are no text and a quoted line break included; more lines of a file are new, their kin known.

    The first batch's own rows are replaced when it comes again, with what is new by then.
    """
    lines: list[str | bytes] = [HEADER, GOOD, b"u\xff,i,c,view,1", 'u,"a\nb",c,odd,1', ",i,c,view,1"]
    path = write(tmp_path / "a.csv", lines)
    run(warehouse, configure(path))
    before = batches(warehouse)
    assert len(before) == 3
    assert counts(run(warehouse, configure(path), "b2")) == (4, 0, 4, 3, {})
    assert batches(warehouse) == before
    write(path, [*lines, "more", ",i,c,view,1"])
    assert counts(run(warehouse, configure(path), "b3")) == (6, 0, 5, 4, {"wrong_field_count": 1})
    assert batches(warehouse) == sorted([*before, ("more", "wrong_field_count", "b3")])
    assert run(warehouse, configure(path), "b1").rejected == {"bad_encoding": 1, "missing_user_id": 2,
                                                             "unknown_event_type": 1}  # fmt: skip
    assert len(rejected(warehouse)) == 5


def test_a_full_refresh_replaces_what_was_refused(warehouse: Warehouse, tmp_path: Path) -> None:
    config = configure(write(tmp_path / "a.csv", [HEADER, GOOD, "cut"]))
    run(warehouse, config)
    assert counts(run(warehouse, config, "b2", full_refresh=True)) == (2, 1, 0, 0, {"wrong_field_count": 1})
    assert batches(warehouse) == [("cut", "wrong_field_count", "b2")]


def test_quarantine_is_read_only_where_a_row_was_refused(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(warehouse, configure(write(tmp_path / "a.csv", [HEADER, GOOD, "cut"])))
    stage = importlib.import_module("pipelines.ingest.ingest")

    def never(*_: Any) -> None:
        raise AssertionError("nothing was refused")

    monkeypatch.setattr(stage, "part_known", never)
    assert run(warehouse, configure(write(tmp_path / "b.csv", [HEADER, GOOD])), "b2").duplicates == 1
