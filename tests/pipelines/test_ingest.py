"""Ingest as a whole: formats agree, rows are conserved, duplicates and conflicts follow the rules."""

import gzip
import json
import random
from collections import defaultdict
from datetime import UTC, datetime
from importlib import import_module

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import SourceError
from pipelines.warehouse import Warehouse
from tests.pipelines.ingest_cases import GOOD, HEADER, configure, events, rejected, run, write

COLUMNS = ("event_id", "user_id", "item_id", "category_id", "event_type", "mode", "ts")


@pytest.fixture
def warehouse(spark, tmp_path):
    return Warehouse(spark, str(tmp_path / "warehouse"))


def test_every_format_gives_the_same_events(spark, tmp_path):
    rows = [
        # user, item, category, type, time
        (-7, "i1", "c1", "view", 1704067200),
        (12345678901234567, "i,2", "c2", "buy", 1704067201),
        (3, 'i"3', None, "cart", 1704067201),
        (3, 'i"3', None, "cart", 1704067201),
    ]
    table = pa.table(dict(zip(HEADER.split(","), zip(*rows, strict=True), strict=True)))
    text = [HEADER] + [
        ",".join("" if v is None else '"' + str(v).replace('"', '""') + '"' for v in row) for row in rows
    ]
    write(tmp_path / "csv/a.csv", text)
    (tmp_path / "gz").mkdir()
    (tmp_path / "gz/a.csv.gz").write_bytes(gzip.compress("\n".join(text).encode()))
    jsonl = [json.dumps({k: v for k, v in row.items() if v is not None}) for row in table.to_pylist()]
    write(tmp_path / "jsonl/a.jsonl", jsonl)
    (tmp_path / "parquet").mkdir()
    pq.write_table(table, tmp_path / "parquet/a.parquet")
    write_deltalake(tmp_path / "delta", table)
    found = {}
    for kind in ("csv", "gz", "jsonl", "parquet", "delta"):
        warehouse = Warehouse(spark, str(tmp_path / "wh" / kind))
        config = configure(tmp_path / kind, source={"format": "csv" if kind == "gz" else kind})
        result = run(warehouse, config)
        assert (result.events_in, result.kept, result.duplicates) == (4, 3, 1), kind
        found[kind] = events(warehouse, *COLUMNS)
    assert [row[1] for row in found["csv"]].count("12345678901234567") == 1
    assert all(rows == found["csv"] for rows in found.values())


@pytest.mark.parametrize(
    ("unit", "texts"),
    [
        ("s", ["1704067200", "1704067200.0", "1.7040672E9", " 1704067200 "]),
        ("ms", ["1704067200000", "1704067200000.000"]),
        ("us", ["1704067200000000"]),
        (
            "iso",
            [
                "2024-01-01T00:00:00Z",
                "2024-01-01 00:00:00 UTC",
                "2024-01-01",
                "2024-01-01T02:00:00+02:00",
                "2024-01-01T00:00:00.000",
                "2024-01-01 00:00",
            ],
        ),
    ],
)
def test_time_units(warehouse, tmp_path, unit, texts):
    lines = [f"u,i{place},c,view,{text}" for place, text in enumerate(texts)]
    bad = ["u,b1,c,view,12:00", "u,b2,c,view,2024-13-01", "u,b3,c,view,2024"] if unit == "iso" else []
    config = configure(write(tmp_path / "a.csv", [HEADER, *lines, *bad]), source={"ts_unit": unit})
    result = run(warehouse, config)
    assert (result.kept, sum(result.rejected.values())) == (len(texts), len(bad))
    assert set(events(warehouse, "ts")) == {(datetime(2024, 1, 1),)}
    assert result.min_ts == result.max_ts == datetime(2024, 1, 1, tzinfo=UTC)


def test_fractional_seconds_are_exact_to_the_microsecond(warehouse, tmp_path):
    path = write(tmp_path / "a.csv", [HEADER, "u,i,c,view,1704067200.123457"])
    assert run(warehouse, configure(path)).kept == 1
    assert events(warehouse, "ts") == [(datetime(2024, 1, 1, 0, 0, 0, 123457),)]


def test_derived_ids_ignore_file_row_and_category(warehouse, tmp_path):
    write(tmp_path / "in/a.csv", [HEADER, "u,i,c2,view,1704067200", "u,i,c1,view,1704067200"])
    write(tmp_path / "in/b.csv", ["category,time,type,item,user", "c1,1704067200.0,view,i, u"])
    result = run(warehouse, configure(tmp_path / "in"))
    assert (result.kept, result.duplicates, result.conflicts) == (1, 2, 1)
    assert events(warehouse, "category_id") == [("c1",)]  # the smallest canonical payload


def test_derived_ids_keep_their_parts_apart(warehouse, tmp_path):
    lines = [
        "1 1:2,3,c,view,1704067200",
        "1,1:2 3,c,view,1704067200",
        "12,3,c,view,1704067200",
        "1,23,c,view,1704067200",
    ]
    assert run(warehouse, configure(write(tmp_path / "a.csv", [HEADER, *lines]))).kept == 4
    assert len(set(events(warehouse, "event_id"))) == 4


SOURCE_IDS = {
    "columns": {"user_id": "user", "item_id": "item", "ts": "time", "event_id": "id"},
    "event_types": {},
}


@pytest.mark.parametrize("broadcast", [0, 1_000_000])
def test_source_ids_smallest_payload_wins_and_bronze_keeps_its_row(
    warehouse, tmp_path, monkeypatch, broadcast
):
    """Whether the batch's ids are looked for in bronze where it lies, or all of bronze is dealt out."""
    monkeypatch.setattr(import_module("pipelines.ingest.ingest"), "BROADCAST_IDS", broadcast)
    first = write(
        tmp_path / "a.csv",
        [
            "id,user,item,time",
            "e1,u,b,1704067200",
            "e1,u,a,1704067300",
            "e2,u,c,1704067200",
            ",u,c,1704067200",
        ],
    )
    result = run(warehouse, configure(first, source=SOURCE_IDS))
    assert (result.kept, result.duplicates, result.conflicts) == (2, 1, 1)
    assert result.rejected == {"missing_event_id": 1}
    assert events(warehouse, "event_id", "item_id") == [("e1", "a"), ("e2", "c")]
    # A later batch: an equal copy, a smaller payload of a known id, and a new event.
    second = write(
        tmp_path / "b.csv",
        ["id,user,item,time", "e1,u,a,1704067300", "e2,u,b,1704067200", "e3,u,z,1704067200"],
    )
    result = run(warehouse, configure(second, source=SOURCE_IDS), "b2")
    assert (result.kept, result.duplicates, result.conflicts) == (1, 2, 1)
    assert events(warehouse, "event_id", "item_id") == [("e1", "a"), ("e2", "c"), ("e3", "z")]


def test_the_same_input_again_keeps_nothing(warehouse, tmp_path):
    config = configure(write(tmp_path / "a.csv", [HEADER, GOOD, GOOD, "u2,i2,c2,buy,1704067200", "broken"]))
    first = run(warehouse, config)
    assert (first.kept, first.duplicates, first.rejected) == (2, 1, {"wrong_field_count": 1})
    before = events(warehouse, *COLUMNS)
    again = run(warehouse, config)
    assert (again.events_in, again.kept, again.duplicates) == (4, 0, 3)
    assert again.rejected == {"wrong_field_count": 1}
    assert len(rejected(warehouse)) == 1  # replaced, as the batch is the same
    other = run(warehouse, config, "b2")
    assert (other.kept, other.duplicates, other.refused_before, other.rejected) == (0, 4, 1, {})
    assert len(rejected(warehouse)) == 1  # a new batch, but no new row
    assert events(warehouse, *COLUMNS) == before
    fresh = run(warehouse, config, "b3", full_refresh=True)
    assert (fresh.kept, fresh.duplicates, len(rejected(warehouse))) == (2, 1, 1)
    assert events(warehouse, *COLUMNS) == before


def test_start_and_end_leave_rows_outside_alone(warehouse, tmp_path):
    lines = [f"u,i{n},c,view,{1704067200 + n}" for n in range(10)] + [
        "u,x,c,view,never",
        "u,x,c,none,1704067209",
    ]
    config = configure(write(tmp_path / "a.csv", [HEADER, *lines]))
    window = {
        "start": datetime(2024, 1, 1, 0, 0, 2, tzinfo=UTC),
        "end": datetime(2024, 1, 1, 0, 0, 5, tzinfo=UTC),
    }
    result = run(warehouse, config, **window)
    assert (result.events_in, result.kept, result.skipped) == (4, 3, 8)
    assert result.rejected == {"bad_ts": 1}
    assert events(warehouse, "item_id") == [("i2",), ("i3",), ("i4",)]


def test_order_and_number_of_files_do_not_matter(spark, tmp_path):
    lines = [f"u{n % 5},i{n % 11},c{n % 3},view,{1704067200 + n % 13}" for n in range(80)]
    found = []
    for seed, files in ((1, 1), (2, 3)):
        random.Random(seed).shuffle(lines)
        for file in range(files):
            write(tmp_path / f"{seed}/{seed * 7 - file}.csv", [HEADER, *lines[file::files]])
        warehouse = Warehouse(spark, str(tmp_path / f"wh{seed}"))
        config = configure(tmp_path / str(seed), spark={"partitions": seed})
        found.append((run(warehouse, config), events(warehouse, *COLUMNS)))
    assert found[0] == found[1]


def test_side_table_brings_categories(warehouse, tmp_path):
    path = write(tmp_path / "a.csv", ["user,item,time", "u,1,1704067200", "u,2,1704067200", "u,3,1704067200"])
    source = {"columns": {"user_id": "user", "item_id": "item", "ts": "time"}, "event_types": {}}
    side = tmp_path / "items.parquet"
    pq.write_table(pa.table({"id": [1, 2, 1], "cat": pa.array([10, None, 10], pa.int64())}), side)
    items = {"path": str(side), "item_id": "id", "category_id": "cat"}
    assert run(warehouse, configure(path, source=source, items=items)).kept == 3
    assert events(warehouse, "item_id", "category_id") == [("1", "10"), ("2", None), ("3", None)]

    pq.write_table(pa.table({"id": [1, 1], "cat": [10, 11]}), side)
    with pytest.raises(SourceError, match="item 1 has categories 10 and 11"):
        run(warehouse, configure(path, source=source, items=items), "b2")
    with pytest.raises(SourceError, match=r"no column kat; .*did you mean cat\?; set items.category_id"):
        run(warehouse, configure(path, source=source, items=items | {"category_id": "kat"}), "b2")


def test_whole_numbers_in_float_columns_read_as_integers(warehouse, tmp_path):
    path = tmp_path / "a.parquet"
    times = pa.array([1704067200.0, 1704067200.5])
    pq.write_table(pa.table({"user": [7.0, 7.5], "item": [2**63 - 1] * 2, "time": times}), path)
    columns = {"user_id": "user", "item_id": "item", "ts": "time"}
    config = configure(path, source={"format": "parquet", "columns": columns, "event_types": {}})
    assert run(warehouse, config).kept == 2
    assert events(warehouse, "user_id", "item_id", "ts") == [
        ("7", "9223372036854775807", datetime(2024, 1, 1)),
        ("7.5", "9223372036854775807", datetime(2024, 1, 1, 0, 0, 0, 500000)),
    ]


@pytest.mark.parametrize(
    "kind",
    [pa.timestamp("us", "UTC"), pa.timestamp("ms", "Europe/Vienna"), pa.timestamp("us"), pa.date32()],
    ids=str,
)
def test_times_of_a_typed_source_are_those_of_its_text(spark, tmp_path, kind):
    """Wherever it lies: in range, before 1970, on the last day that Python reads, in the future, nowhere."""
    days = [19_723, 19_724, -1, 2_932_896, 20_000, None]
    texts = ["2024-01-01", "2024-01-02", "1969-12-31", "9999-12-31", "2024-10-04", ""]
    instants = pa.array([None if day is None else day * 86_400_000_000 for day in days], pa.timestamp("us"))
    times = pa.array(days, pa.int32()).cast(kind) if kind == pa.date32() else instants.cast(kind)
    users = [f"u{number}" for number in range(len(days))]
    pq.write_table(pa.table({"user": users, "item": users, "time": times}), tmp_path / "a.parquet")
    lines = [f"{user},{user},{text}" for user, text in zip(users, texts, strict=True)]
    write(tmp_path / "a.csv", ["user,item,time", *lines])
    columns = {"user_id": "user", "item_id": "item", "ts": "time"}
    found = []
    for name in ("parquet", "csv"):
        source = {"format": name, "ts_unit": "iso", "columns": columns, "event_types": {}}
        warehouse = Warehouse(spark, str(tmp_path / "wh" / name))
        result = run(warehouse, configure(tmp_path / f"a.{name}", source=source))
        found.append((result.rejected, result.min_ts, result.max_ts, events(warehouse, "event_id", "ts")))
    assert found[0] == found[1]
    assert found[0][0] == {"bad_ts": 1, "future": 2, "missing_ts": 1}
    assert len(found[0][3]) == 2


lines_of_a_batch = st.lists(
    st.builds(
        ",".join,
        st.tuples(
            st.sampled_from(["a", "b", ""]),
            st.sampled_from(["1", "2"]),
            st.sampled_from(["x", "y", ""]),
            st.sampled_from(["view", "buy", "odd"]),
            st.sampled_from(["1704067200", "1704067201", "bad"]),
        ),
    )
    | st.just("cut off"),
    min_size=1,
    max_size=30,
)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(lines_of_a_batch, min_size=1, max_size=2))
def test_rows_are_conserved_and_bronze_agrees_with_an_oracle(spark, tmp_path_factory, batches):
    folder = tmp_path_factory.mktemp("conserved")
    warehouse = Warehouse(spark, str(folder / "wh"))
    bronze: dict[tuple[str, ...], str] = {}
    for number, lines in enumerate(batches):
        result = run(warehouse, configure(write(folder / f"{number}.csv", [HEADER, *lines])), f"b{number}")
        good = [p for p in (line.split(",") for line in lines) if len(p) == 5 and p[0]]
        good = [p for p in good if p[3] != "odd" and p[4] != "bad"]
        seen: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for user, item, category, kind, time in good:
            seen[user, item, kind, time].append(category)
        new = {event: min(categories) for event, categories in seen.items() if event not in bronze}
        conflicts = sum(len({*c, bronze.get(event, c[0])}) > 1 for event, c in seen.items())
        bronze |= new
        assert (
            result.events_in == len(lines) == result.kept + result.duplicates + sum(result.rejected.values())
        )
        assert (result.kept, result.duplicates) == (len(new), len(good) - len(new))
        assert result.conflicts == conflicts
    rows = events(warehouse, "user_id", "item_id", "event_type", "category_id")
    assert rows == sorted(((e[0], e[1], e[2], c or None) for e, c in bronze.items()), key=str)
