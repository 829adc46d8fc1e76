"""Bad input of the issue, one test a rule: source faults raise one line, row faults are quarantined."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import SourceError
from pipelines.ingest.sources import read_source
from pipelines.warehouse import Warehouse
from tests.pipelines.ingest_cases import COLUMNS, GOOD, HEADER, configure, events, rejected, run, write


def refusal(spark, config) -> str:
    """The message of the SourceError that reading the source raises."""
    with pytest.raises(SourceError) as caught:
        read_source(spark, config.source).count()
    assert caught.value.exit_status == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_path(spark, tmp_path):
    message = refusal(spark, configure(tmp_path / "nothing.csv"))
    assert "nothing.csv: no such file" in message and "source.path" in message


def test_unknown_file_system(spark):
    assert "nofs" in refusal(spark, configure(Path("nofs://bucket/x.csv")))


def test_empty_file_and_empty_folder(spark, tmp_path):
    assert "the file is empty" in refusal(spark, configure(write(tmp_path / "a.csv", [])))
    (tmp_path / "folder").mkdir()
    assert "holds no data files" in refusal(spark, configure(tmp_path / "folder"))
    write(tmp_path / "blank.csv", ["", "  ", ""])
    assert "blank lines only" in refusal(spark, configure(tmp_path / "blank.csv"))


def test_empty_files_beside_full_ones_are_no_fault(spark, tmp_path):
    write(tmp_path / "in/a.csv", [HEADER, GOOD])
    write(tmp_path / "in/b.csv", [])
    write(tmp_path / "in/_SUCCESS", ["not data"])
    assert read_source(spark, configure(tmp_path / "in").source).count() == 1


def test_header_only(spark, tmp_path):
    warehouse = Warehouse(spark, str(tmp_path / "wh"))
    with pytest.raises(SourceError, match="no rows"):
        run(warehouse, configure(write(tmp_path / "a.csv", [HEADER, ""])))
    assert not warehouse.exists("bronze/events")


def test_missing_column_names_the_nearest(spark, tmp_path):
    path = write(tmp_path / "a.csv", ["user,itm,category,type,time", GOOD])
    message = refusal(spark, configure(path))
    assert "no column item" in message and "found: user, itm, category" in message
    assert "did you mean itm?" in message and "source.columns.item_id" in message


@pytest.mark.parametrize(("delimiter", "shown"), [(";", "';'"), ("\t", "a tab"), ("|", "'|'")])
def test_wrong_delimiter(spark, tmp_path, delimiter, shown):
    lines = [HEADER.replace(",", delimiter), GOOD.replace(",", delimiter)]
    message = refusal(spark, configure(write(tmp_path / "a.csv", lines)))
    assert f"looks separated by {shown}" in message and "source.delimiter" in message


def test_wrong_delimiter_or_width_without_header(spark, tmp_path):
    headless = {"header": False, "field_names": tuple(COLUMNS.values())}
    path = write(tmp_path / "a.csv", [GOOD.replace(",", ";")])
    assert "looks separated by ';'" in refusal(spark, configure(path, source=headless))
    path = write(tmp_path / "b.csv", [GOOD + ",more"] * 3)
    assert "row 1: 6 fields, but source.field_names lists 5" in refusal(
        spark, configure(path, source=headless)
    )


def test_header_faults(spark, tmp_path):
    path = write(tmp_path / "a.csv", [b"user,item,category,type,\xfftime", GOOD])
    assert "row 1: the header is not UTF-8" in refusal(spark, configure(path))
    path = write(tmp_path / "b.csv", [HEADER + ",user", GOOD + ",u2"])
    assert "names user twice" in refusal(spark, configure(path))


def test_gzip_that_is_misnamed(spark, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(gzip.compress(f"{HEADER}\n{GOOD}".encode()))
    assert "does not end in .gz" in refusal(spark, configure(path))


@pytest.mark.parametrize("rows", [99, 100_000])  # cut off within its first MiB, and behind it
def test_gzip_that_is_cut_off(spark, tmp_path, rows):
    lines = [HEADER, *(f"u{n},i{n * n},c,view,{1704067200 + n}" for n in range(rows))]
    data = gzip.compress("\n".join(lines).encode())
    path = tmp_path / "b.csv.gz"
    path.write_bytes(data[: len(data) - 20])
    message = refusal(spark, configure(path))
    assert "b.csv.gz" in message and "cut off" in message


def test_not_a_parquet_file(spark, tmp_path):
    path = write(tmp_path / "a.parquet", [HEADER, GOOD])
    message = refusal(spark, configure(path, source={"format": "parquet"}))
    assert "a.parquet: is not a Parquet file" in message


def test_not_a_delta_table(spark, tmp_path):
    write(tmp_path / "in/a.csv", [HEADER, GOOD])
    assert "no Delta table" in refusal(spark, configure(tmp_path / "in", source={"format": "delta"}))


def test_json_faults(spark, tmp_path):
    jsonl = {"format": "jsonl"}
    path = write(tmp_path / "a.jsonl", ['[{"user": 1}]'])
    assert "one object a line" in refusal(spark, configure(path, source=jsonl))
    path = write(tmp_path / "b.jsonl", ['{"user": 1, "itm": 2, "time": 3}'])
    assert "did you mean itm?" in refusal(spark, configure(path, source=jsonl))


def parquet(path: Path, **columns: pa.Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"user": ["u"], "item": ["i"], "category": ["c"], "type": ["view"], "time": [1704067200]}
    pq.write_table(pa.table({**whole, **columns}).select([*(whole | columns)]), path)
    return path


def test_mixed_schemas_in_one_folder(spark, tmp_path):
    settings = {"format": "parquet"}
    parquet(tmp_path / "types/a.parquet")
    parquet(tmp_path / "types/b.parquet", user=pa.array([7], pa.int64()))
    message = refusal(spark, configure(tmp_path / "types", source=settings))
    assert "b.parquet: column user (user_id) is int64, but binary" in message and "a.parquet" in message

    parquet(tmp_path / "lacks/a.parquet")
    pq.write_table(
        pa.table({"user": ["u"], "type": ["view"], "category": ["c"], "time": [1]}),
        tmp_path / "lacks/b.parquet",
    )
    message = refusal(spark, configure(tmp_path / "lacks", source=settings))
    assert "b.parquet: no column item" in message

    write(tmp_path / "csv/a.csv", [HEADER, GOOD])
    write(tmp_path / "csv/b.csv", ["user,item,type,time", "u,i,view,1704067200"])
    assert "b.csv: no column category" in refusal(spark, configure(tmp_path / "csv"))


def test_unit_that_contradicts_the_type(spark, tmp_path):
    path = parquet(tmp_path / "a.parquet")
    message = refusal(spark, configure(path, source={"format": "parquet", "ts_unit": "iso"}))
    assert "column time holds numbers; set source.ts_unit" in message
    times = parquet(tmp_path / "b.parquet", time=pa.array([0], pa.timestamp("us", tz="UTC")))
    assert "set source.ts_unit = 'iso'" in refusal(spark, configure(times, source={"format": "parquet"}))


def test_clock_that_tells_days_only(spark, tmp_path):
    days = [f"u{n % 7},i{n},c,view,{1704067200 + 86400 * (n % 5)}" for n in range(120)]
    path = write(tmp_path / "a.csv", [HEADER, *days])
    warehouse = Warehouse(spark, str(tmp_path / "wh"))
    with pytest.raises(SourceError, match=r"tells days only.*source\.clock = 'ordinal'.*every_n"):
        run(warehouse, configure(path))
    assert not warehouse.exists("bronze/events")
    ordinal = configure(path, source={"clock": "ordinal"}, sessions={"rule": "every_n", "every_n": 5})
    assert run(warehouse, ordinal).kept == 120


ROWS: list[tuple[str | bytes, str | None]] = [
    # line, reason (None: kept)
    (GOOD, None),
    (b"u1,caf\xe9,c1,view,1704067200", "bad_encoding"),
    ("u1,café,c1,view,1704067200", None),
    ("u1,i1,view,1704067200", "wrong_field_count"),
    ("u1,i1,c1,view,1704067200,more", "wrong_field_count"),
    (",i2,c1,view,1704067200", "missing_user_id"),
    ("  ,i2,c1,view,1704067200", "missing_user_id"),
    ('u1,"",c1,view,1704067200', "missing_item_id"),
    ("u1,i2,c1,view,", "missing_ts"),
    ("u1,i2,c1,view,soon", "bad_ts"),
    ("u1,i2,c1,view,-5", "bad_ts"),
    ("u1,i2,c1,view,99999999999999999999", "bad_ts"),
    ("u1,i2,c1,view,1704844800", None),  # exactly ingested_at
    ("u1,i3,c1,view,1704845100", None),  # exactly the allowed skew of 5 min
    ("u1,i3,c1,view,1704845101", "future"),
    ("u1,i2,c1,view,1703980800", None),  # exactly the window's start
    ("u1,i2,c1,view,1703980799", "out_of_window"),
    ("u1,i2,c1,teleport,1704067200", "unknown_event_type"),
    ("u1,i2,c1,,1704067200", "unknown_event_type"),
    ("-7,-8,c1,buy,1704067200", None),
    ("12345678901234567890,98765432109876543210,c1,buy,1704067200", None),
    (' u1 ,"a, ""quoted"" one",c1,cart,1704067200.5', None),
    ('u1,"two\nlines",c1,cart,1.7040672E9', None),
    ('u9,"never closed,c1,cart,1704067200', "wrong_field_count"),
    ("u1,i4,,rate,1704067203", None),
    ("u8,i8,c8,view,170406", "out_of_window"),  # a last line cut off inside its time
]
WINDOW = {"window": {"start": "2023-12-31T00:00:00Z"}}


@pytest.fixture(scope="module")
def quarantine(spark, tmp_path_factory):
    """All rows above in one file, with a byte order mark, CRLF line ends and a repeated header."""
    folder = tmp_path_factory.mktemp("quarantine")
    lines = [f"\ufeff{HEADER}", *(line for line, _ in ROWS[:9]), HEADER, "", *(line for line, _ in ROWS[9:])]
    config = configure(write(folder / "a.csv", lines, end=b"\r\n"), source=WINDOW)
    warehouse = Warehouse(spark, str(folder / "wh"))
    return warehouse, run(warehouse, config)


def test_row_faults_are_quarantined_with_reason_and_payload(quarantine):
    warehouse, result = quarantine
    expected = sorted(
        (reason, line if isinstance(line, str) else "0x" + line.hex().upper())
        for line, reason in ROWS
        if reason is not None
    )
    assert rejected(warehouse) == expected
    assert result.events_in == len(ROWS)
    assert result.kept == sum(reason is None for _, reason in ROWS)
    assert (result.duplicates, result.conflicts, result.skipped) == (0, 0, 0)
    assert sum(result.rejected.values()) == len(expected)


def test_good_rows_survive_beside_bad_ones(quarantine):
    warehouse, _ = quarantine
    kept = events(warehouse, "user_id", "item_id", "category_id", "event_type", "mode")
    assert ("12345678901234567890", "98765432109876543210", "c1", "buy", 3) in kept
    assert ("-7", "-8", "c1", "buy", 3) in kept
    assert ("u1", 'a, "quoted" one', "c1", "cart", 2) in kept
    assert ("u1", "two\nlines", "c1", "cart", 2) in kept
    assert ("u1", "café", "c1", "view", 1) in kept
    assert ("u1", "i4", None, "rate", 4) in kept


def test_truncated_last_line(spark, tmp_path):
    warehouse = Warehouse(spark, str(tmp_path / "wh"))
    result = run(warehouse, configure(write(tmp_path / "a.csv", [HEADER, GOOD, "u1,i1,c1,vi"])))
    assert (result.kept, result.rejected) == (1, {"wrong_field_count": 1})


def test_broken_json_lines(spark, tmp_path):
    lines = [
        '{"user": 12345678901234567890, "item": -3, "type": "view", "category": "c", "time": 1704067200}',
        '{"user": null, "item": "i", "type": "view", "time": 1704067200}',
        '{"user": "u", "item": "i", "type": "vie',
    ]
    warehouse = Warehouse(spark, str(tmp_path / "wh"))
    config = configure(write(tmp_path / "a.jsonl", lines), source={"format": "jsonl"})
    assert run(warehouse, config).rejected == {"broken_json": 1, "missing_user_id": 1}
    assert events(warehouse, "user_id", "item_id") == [("12345678901234567890", "-3")]
    assert ("broken_json", lines[2]) in rejected(warehouse)


def test_source_key_and_sequence_rules(spark, tmp_path):
    lines = [
        "user,item,time,key,nr",
        "u,a,1704067200,k,10",
        "u,b,1704067200,,2",
        "u,c,1704067200,k,x",
        "u,d,1704067200,k,",
    ]
    columns = {"user_id": "user", "item_id": "item", "ts": "time", "session_key": "key", "sequence": "nr"}
    source = {"columns": columns, "event_types": {}}
    config = configure(write(tmp_path / "a.csv", lines), source=source, sessions={"rule": "source_key"})
    warehouse = Warehouse(spark, str(tmp_path / "wh"))
    assert run(warehouse, config).rejected == {"bad_sequence": 1, "missing_session_key": 1}
    assert events(warehouse, "item_id", "sequence", "session_key", "event_type") == [
        ("a", 10, "k", "browse"),
        ("d", None, "k", "browse"),
    ]
