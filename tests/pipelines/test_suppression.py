"""Erased users stay out at every ingest, and nothing of their records is kept."""

import hashlib
import hmac
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.ingest.suppression import _pads, hmac_sha256, names_in, reject_suppressed
from pipelines.suppressed import KEY_VARIABLE, suppress
from pipelines.warehouse import Warehouse
from tests.pipelines.ingest_cases import GOOD, HEADER, INGESTED_AT, configure, events, run, write

LINES = [
    HEADER,
    GOOD,
    "u2,i1,c1,view,1704067201",
    " u2 ,i2,c1,unlisted,1704067202",  # refused for another reason as well
    "u2,cut",
    "u3,u2,cut,off",
    "u4,i1,c1,view,nothing",
    b"\xff,u2",
]


@pytest.fixture
def warehouse(spark: SparkSession, tmp_path: Path) -> Warehouse:
    return Warehouse(spark, str(tmp_path / "warehouse"), "b1")


def refused(warehouse: Warehouse) -> list[tuple[str | None, ...]]:
    rows = warehouse.read("bronze/events_rejected").select("reason", "raw", "layout", "file").collect()
    return sorted(
        {(row[0], row[1], *((None, None) if row[2] is None else ("…", "…"))) for row in rows}, key=str
    )


@pytest.mark.parametrize("secret", [b"k", b"x" * 64, b"y" * 65])
def test_spark_hashes_as_python_does(secret: bytes, spark: SparkSession) -> None:
    ids = ["u1", "", "ü@home"]
    key = spark.createDataFrame([_pads(secret)], "inner binary, outer binary")
    frame = spark.createDataFrame([(one,) for one in ids], "id string").crossJoin(key)
    found = frame.select(hmac_sha256(F.col("id"), F.col("inner"), F.col("outer"))).collect()
    assert [row[0] for row in found] == [
        hmac.new(secret, one.encode(), hashlib.sha256).hexdigest() for one in ids
    ]


def test_an_erased_user_stays_out(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "a key")
    config = configure(write(tmp_path / "events.csv", LINES))
    suppress(warehouse.root, ["u2"], INGESTED_AT, "erase-1")
    result = run(warehouse, config)
    reasons = {"bad_encoding": 1, "bad_ts": 1, "erased": 3, "wrong_field_count": 1}
    assert result.kept == 1 and result.rejected == reasons
    once = [
        ("bad_encoding", None, None, None),
        ("bad_ts", "u4,i1,c1,view,nothing", "…", "…"),
        ("erased", None, None, None),
        ("wrong_field_count", None, None, None),
    ]
    assert refused(warehouse) == once
    again = run(warehouse, config, "b2", full_refresh=True)
    assert again.rejected == result.rejected and refused(warehouse) == once
    retried = run(warehouse, config, "b3", retry=True)
    assert retried.kept == 0 and retried.rejected == result.rejected and refused(warehouse) == once
    assert events(warehouse, "user_id") == [("u1",)]


def test_a_user_erased_later_is_not_tried_again(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the mapping was mended, the others' rows come in."""
    monkeypatch.setenv(KEY_VARIABLE, "a key")
    path = write(tmp_path / "events.csv", [HEADER, "u1,i,c,odd,1704067200", "u2,i,c,odd,1704067201"])
    assert run(warehouse, configure(path)).rejected == {"unknown_event_type": 2}
    suppress(warehouse.root, ["u2"], INGESTED_AT, "erase-1")
    mended = configure(path, source={"event_types": {"odd": "browse"}})
    assert run(warehouse, mended, "b2", retry=True).rejected == {"erased": 1}
    assert events(warehouse, "user_id") == [("u1",)]


@pytest.mark.parametrize(
    ("user", "line"),
    [
        ("auth0|5f7c8ec7", "cut,auth0|5f7c8ec7,x"),
        ("auth0|5f7c8ec7", '{"u":"auth0|5f7c8ec7"'),
        ("auth0|5f7c8ec7", '{"u":{"id":"auth0|5f7c8ec7","k'),
        ("John Smith", "cut,John Smith"),
        ("John Smith", "cut; 'John Smith' ;x"),
        ("John Smith", "at 9 John Smith left"),
        ("550e8400-e29b-41d4", "uid=550e8400-e29b-41d4"),
        ("550e8400-e29b-41d4-a716-446655440000", "x 550e8400-e29b-41d4-a716-446655440000 y"),
        ("Smith, John", 'cut,"Smith, John"'),
        ("+49 170 1", "tel:+49 170 1|x"),
        ("YWJj==", "uid=YWJj==|x"),
        ("@bob", "cut @bob x"),
        ("O'Neill", "cut,O'Neill"),
        ("one two three four five six seven", "cut\tone two three four five six seven\tx"),
        ("🦊 fox", '{"u":"\\ud83e\\udd8a fox'),
    ],
)
def test_an_id_is_found_in_a_line_that_cannot_be_read(user: str, line: str) -> None:
    assert user in names_in(line)
    assert user in names_in("0x" + line.encode().hex())


def test_a_broken_escape_is_no_obstacle() -> None:
    """Half of a pair of surrogates is no text that could be hashed."""
    assert all(name.encode() for name in names_in('{"u":"\\ud83e", u1'))


def test_what_could_be_an_id_grows_with_the_line_and_no_faster() -> None:
    words = [f"w{number}" for number in range(2_000)]
    assert len(names_in(",".join(words))) < 10 * len(words)


def test_a_number_in_a_line_is_an_id_only_where_the_line_cannot_be_read(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only rows of the user itself are ``erased`` and leave the share; a user's word is one anywhere."""
    monkeypatch.setenv(KEY_VARIABLE, "a key")
    broken = ["1,i1,c1,view,1704067200", "cut,1", ",1,c1,view,1704067200"]
    chance = ["u4,1,1,odd,1704067201", "u5,1,c1,view,never", "u6,Jo Doe,c,view,never"]
    config = configure(write(tmp_path / "events.csv", [HEADER, GOOD, *broken, *chance]))
    suppress(warehouse.root, ["1", "Jo Doe"], INGESTED_AT, "erase-1")
    result = run(warehouse, config)
    assert result.rejected == {
        "bad_ts": 2, "erased": 1, "missing_user_id": 1, "unknown_event_type": 1, "wrong_field_count": 1
    }  # fmt: skip
    assert refused(warehouse) == [
        ("bad_ts", "u5,1,c1,view,never", "…", "…"),
        ("bad_ts", None, None, None),
        ("erased", None, None, None),
        ("missing_user_id", None, None, None),
        ("unknown_event_type", "u4,1,1,odd,1704067201", "…", "…"),
        ("wrong_field_count", None, None, None),
    ]
    mended = configure(tmp_path / "events.csv", source={"event_types": {"view": "browse", "odd": "browse"}})
    again = run(warehouse, mended, "b2", retry=True)
    assert again.kept == 1 and again.rejected == {
        "bad_ts": 2, "erased": 1, "missing_user_id": 1, "wrong_field_count": 1
    }  # fmt: skip


def test_nothing_is_computed_where_nobody_was_erased(warehouse: Warehouse, spark: SparkSession) -> None:
    frame = spark.range(1)
    assert reject_suppressed(frame, warehouse) is frame


def test_what_could_be_an_id_in_a_payload() -> None:
    assert {"a@b.c", "7"} <= names_in('{"u":"a@b.c","n":7}')
    assert "u1" in names_in('{"u":"u\\u0031"}') and "u1" in names_in("0x" + b"\xff,u1".hex())
