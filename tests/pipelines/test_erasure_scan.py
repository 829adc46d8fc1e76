"""The scan finds an id in every kind of place, decoded; a plain number only where it names a user."""

import bz2
import gzip
import json
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from pipelines.erasure.needles import Mode, Needles
from pipelines.erasure.scan import main, read_ids, scan
from pipelines.erasure.texts import scrub, scrub_documents, scrub_ops

VICTIM = "u-42"
OTHERS = pa.array(["u1", "u2", "u-421", "xu-42"])


def users(*more: str) -> pa.Array:
    return pa.array([*OTHERS.to_pylist(), *more])


def column(values: pa.Array) -> Callable[[Path], None]:
    return lambda folder: pq.write_table(pa.table({"c": values}), folder / "x.parquet", compression="zstd")


def with_footer(folder: Path) -> None:
    table = pa.table({"c": [1]}).replace_schema_metadata({"note": f"made for {VICTIM}"})
    pq.write_table(table, folder / "x.parquet")


def log_statistics(folder: Path) -> None:
    write_deltalake(str(folder / "t"), pa.table({"user_id": users(VICTIM)}))
    for file in (folder / "t").glob("*.parquet"):
        file.unlink()


def checkpoint(folder: Path) -> None:
    log_statistics(folder)
    DeltaTable(str(folder / "t")).create_checkpoint()
    for file in (folder / "t" / "_delta_log").glob("*.json"):
        file.unlink()


def deleted_row(folder: Path) -> None:
    """SQLite leaves a deleted row's bytes in the file."""
    with sqlite3.connect(folder / "x.db") as database:
        database.execute("CREATE TABLE t (note TEXT)")
        database.executemany("INSERT INTO t VALUES (?)", [("user-long-id-42",), ("other",)])
    with sqlite3.connect(folder / "x.db") as database:
        database.execute("PRAGMA secure_delete = OFF")
        database.execute("DELETE FROM t WHERE note = 'user-long-id-42'")


def sqlite(folder: Path) -> None:
    with sqlite3.connect(folder / "x.db") as database:
        database.execute("CREATE TABLE t (note TEXT)")
        database.execute("INSERT INTO t VALUES (?)", (json.dumps({"params": [VICTIM]}),))


def archive(folder: Path) -> None:
    with zipfile.ZipFile(folder / "x.zip", "w") as file:
        file.writestr("inner.txt", f"for {VICTIM}.")


def text(name: str, content: str | bytes) -> Callable[[Path], None]:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: void((folder / name).write_bytes(data))


def void(_: object) -> None:
    return None


STRUCT = pa.array([{"a": [{"b": VICTIM}]}], pa.struct([("a", pa.list_(pa.struct([("b", pa.string())])))]))
PLACES: dict[str, Callable[[Path], None]] = {
    "column": column(users(VICTIM)),
    "dictionary": column(users(VICTIM).dictionary_encode()),
    "binary": column(pa.array([VICTIM.encode()])),
    "list": column(pa.array([["u1"], ["u2", VICTIM]])),
    "struct in list in struct": column(STRUCT),
    "map key": column(pa.array([[(VICTIM, 1)]], pa.map_(pa.string(), pa.int64()))),
    "map value": column(pa.array([[("a", VICTIM)]], pa.map_(pa.string(), pa.string()))),
    "text in a column": column(pa.array([f"gap of {VICTIM}: 3 h"])),
    "json in a column": column(pa.array([json.dumps({"a": json.dumps({"b": VICTIM})})])),
    "footer": with_footer,
    "statistics in a Delta log": log_statistics,
    "checkpoint": checkpoint,
    "json": text("x.json", json.dumps({"a": [{"b": VICTIM}]})),
    "json key": text("x.json", json.dumps({VICTIM: 1})),
    "json with escapes": text("x.json", '{"a": "u\\u002d42"}'),
    "json lines": text("x.jsonl", f'{{"a": 1}}\n{{"a": "{VICTIM}"}}\n'),
    "checksum of Delta": text("00000000000000000001.crc", json.dumps({"allFiles": [{"stats": VICTIM}]})),
    "html": text("x.html", f"<td>{VICTIM}</td>"),
    "html entity": text("x.html", "<td>u&#45;42</td>"),
    "csv": text("x.csv", f"user_id,n\n{VICTIM},1\n"),
    "text": text("x.log", f"no row of {VICTIM}."),
    "gzip": text("x.log.gz", gzip.compress(f"no row of {VICTIM}".encode())),
    "bzip2": text("x.bz2", bz2.compress(VICTIM.encode())),
    "zip": archive,
    "sqlite": sqlite,
    "name of a file": text(f"report {VICTIM}.txt", "nothing"),
    "name of a partition": lambda folder: (
        void((folder / f"c={VICTIM}").mkdir()) or text(f"c={VICTIM}/x", "nothing")(folder)
    ),
}


@pytest.mark.parametrize("kind", PLACES)
def test_an_id_is_found(kind: str, tmp_path: Path) -> None:
    PLACES[kind](tmp_path)
    assert list(scan(tmp_path, Needles([VICTIM])))
    assert not list(scan(tmp_path, Needles(["u-4", "42", "u-43"])))


def test_a_deleted_row_of_sqlite_is_found(tmp_path: Path) -> None:
    deleted_row(tmp_path)
    assert list(scan(tmp_path, Needles(["user-long-id-42"])))


def test_raw_bytes_of_compressed_parquet_show_nothing(tmp_path: Path) -> None:
    """Why the scan decodes: an id behind zstd in no statistics is not in the file's bytes."""
    values = pa.table({"user_id": [f"user-number-{place}" for place in range(1000)]})
    pq.write_table(
        values, tmp_path / "x.parquet", compression="zstd", use_dictionary=False, write_statistics=False
    )
    assert b"user-number-577" not in (tmp_path / "x.parquet").read_bytes()
    (place,) = scan(tmp_path, Needles(["user-number-577"]))
    assert str(place) == "x.parquet: column user_id (1 id)"


def test_a_number_counts_only_where_it_names_a_user(tmp_path: Path) -> None:
    table = {"item_id": ["815"], "n": [815], "index": [815]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    (tmp_path / "b.json").write_text('{"size": 815, "numRows": "815", "text": "815 rows, 8 to 815"}')
    (tmp_path / "c.html").write_text("<p style='width: 815'>815</p>")
    assert list(scan(tmp_path, Needles(["815"]))) == []
    pq.write_table(pa.table({"user_id": [814, 815]}), tmp_path / "d.parquet")
    pq.write_table(pa.table({"raw": ["7,815,3"]}), tmp_path / "e.parquet")
    pq.write_table(pa.table({"other": ["815"]}), tmp_path / "f.parquet")
    (tmp_path / "g.json").write_text('{"users": 815, "user_id": 815}')
    (tmp_path / "h.txt").write_text("the rows of user 815 do not fit; user_id = 815")
    found = {place.path for place in scan(tmp_path, Needles(["815"]))}
    assert found == {"d.parquet", "e.parquet", "f.parquet", "g.json", "h.txt"}


@pytest.mark.parametrize("raw", ["7,u1,x", '{"u": "u\\u0031"}', "0x752C7531FF", 'x "u1" y'])
def test_a_payload_is_read_in_all_its_forms(raw: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"raw": [raw]}), tmp_path / "x.parquet")
    assert list(scan(tmp_path, Needles(["u1"])))


def test_a_token_ends_where_a_word_ends() -> None:
    needles = Needles(["a.b@c.de", "ü7", "--"])
    assert needles.find("mail a.b@c.de, ü7") == {"a.b@c.de", "ü7"}
    assert needles.find("xa.b@c.de a.b@c.dex üü7") == set()
    assert needles.find("a--b") == {"--"}
    assert Needles(["815"]).find("1,815,2", Mode.PAYLOAD) == {"815"}


def test_a_cut_off_file_is_searched_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 user-long-id-42 and no more")
    assert list(scan(tmp_path, Needles(["user-long-id-42"])))


def test_scrubbed_documents_hold_no_id_and_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"error": f"twice {VICTIM}", "rows": 3}))
    (tmp_path / "b.html").write_text(f"<td>{VICTIM}</td>\n<td>u1</td>")
    (tmp_path / "c.log.gz").write_bytes(gzip.compress(f"row of {VICTIM}".encode()))
    (tmp_path / "d.txt").write_text("nobody")
    assert scrub_documents(tmp_path, Needles([VICTIM])) == ["a.json", "b.html", "c.log.gz"]
    assert list(scan(tmp_path, Needles([VICTIM]))) == []
    assert json.loads((tmp_path / "a.json").read_text()) == {"error": "twice [erased]", "rows": 3}
    assert (tmp_path / "b.html").read_text() == "<td>[erased]</td>\n<td>u1</td>"
    assert scrub("user u<1 &", Needles(["u<1"])) == "user [erased] &"


def test_scrubbed_records_hold_no_id(tmp_path: Path) -> None:
    rows = pa.table({"run_id": ["r1", "r2"], "error": ["fine", f"bad: {VICTIM}"], "more": [["a"], [VICTIM]]})
    write_deltalake(str(tmp_path / "ops" / "runs"), rows)
    assert scrub_ops(tmp_path, Needles([VICTIM]), "r3") == {"ops/runs": 1}
    assert scrub_ops(tmp_path, Needles([VICTIM]), "r3") == {}
    kept = DeltaTable(str(tmp_path / "ops" / "runs")).to_pyarrow_table().sort_by("run_id").to_pylist()
    assert kept[0] == rows.to_pylist()[0]
    assert kept[1] == {"run_id": "r2", "error": "bad: [erased]", "more": ["[erased]"]}


def test_the_command_says_where_and_not_whom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ids derived from the user are looked for as well."""
    folder = tmp_path / "w"
    folder.mkdir()
    pq.write_table(pa.table({"user_id": [VICTIM, "u1"], "session_id": ["s9a", "s9b"]}), folder / "a.parquet")
    pq.write_table(pa.table({"which": ["s9a"]}), folder / "b.parquet")
    (tmp_path / "users").write_text(f"{VICTIM}\n\n{VICTIM}\n")
    assert read_ids(tmp_path / "users") == [VICTIM]
    assert main([str(folder), "--users", str(tmp_path / "users")]) == 1
    out = capsys.readouterr().out
    assert "b.parquet: column which" in out and VICTIM not in out
    assert json.loads(out.splitlines()[-1])["users_found"] == 1
    (tmp_path / "users").write_text("nobody")
    assert main([str(folder), "--users", str(tmp_path / "users")]) == 0
