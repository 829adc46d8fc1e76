"""A small published warehouse with old versions, made without a build."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from features.spec import SequenceSpec
from pipelines.pointer import Published, published
from pipelines.publish import publish, table_versions
from pipelines.runs import RunRecord, record_run
from pipelines.warehouse import Warehouse

START = datetime(2026, 1, 1, tzinfo=UTC)
LAYOUT = json.dumps({"columns": ["event", "user", "item"], "delimiter": ","})
SETTINGS = {"source": {"columns": {"user_id": "user", "item_id": "item", "ts": "t"}}}
USERS = ["u-1", "u-2", "u-3", "815", "816", "x@home"]
VICTIMS = ["u-1", "815", "x@home"]
REFUSED = [
    ("e1,u-1", "wrong_field_count", LAYOUT),
    ('{"u": "u\\u002d1"}', "broken_json", None),
    ("0x3831352CFF", "bad_encoding", None),
    ("e2,u-2", "wrong_field_count", LAYOUT),
    ('e3,"u-3",816', "out_of_window", LAYOUT),
]
NAMED = 3
"""Refused rows that name a victim."""


def day(spark: SparkSession, number: int) -> dict[str, DataFrame]:
    """Rows of each table for a day: an event and a session a user; the last user comes on the last day."""
    users = USERS if number else USERS[:-1]
    at = START + timedelta(days=number)
    frame = spark.createDataFrame(
        [(user, place) for place, user in enumerate(users)], "user_id string, n int"
    )
    ts = F.lit(at) + F.make_interval(mins=F.col("n"))
    hashed = F.md5(F.concat("user_id", F.lit(number)))
    return {
        "bronze/events": frame.select(
            F.concat(F.lit("e"), hashed).alias("event_id"), "user_id", F.lit("815").alias("item_id"),
            ts.alias("ts"), F.to_date(ts).alias("date"), F.lit(f"run-{number}").alias("batch_id"),
        ),
        "silver/sessions": frame.select(
            hashed.alias("session_id"), "user_id", (F.col("n") + 800).alias("n_events"),
        ),
        "gold/user_sequences": frame.select(
            "user_id", F.lit(number).alias("chunk"), F.array("n", F.lit(815)).alias("events__item"),
            (F.col("n") % 2 * 8 + 8).alias("length_bucket"),
        ),
    }  # fmt: skip


def make(spark: SparkSession, folder: Path) -> None:
    """Two published days, with refused rows, scores, a failed run and a report that name victims."""
    for number in range(2):
        warehouse = Warehouse(spark, str(folder), f"run-{number}")
        for name, rows in day(spark, number).items():
            by = ("length_bucket",) if name.startswith("gold") else ()
            warehouse.append(rows.coalesce(1), name, partition_by=by)
        refused = spark.createDataFrame(
            [(*row, f"file-{number}", f"run-{number}") for row in (REFUSED if number else REFUSED[3:4])],
            "raw string, reason string, layout string, file string, batch_id string",
        )
        warehouse.append(refused.coalesce(1), "bronze/events_rejected")
        warehouse.append(
            spark.range(2).select(F.col("id").cast("string"), F.lit(2).alias("index")), "silver/items"
        )
        publish(warehouse, pointer(number, table_versions(warehouse)), published(str(folder)))
    scores = spark.createDataFrame([(user, ["815"]) for user in USERS], "user_id string, items array<string>")
    Warehouse(spark, str(folder), "score-1").append(scores.coalesce(1), "scores/users")
    error = "gap of u-1\nuser 815 has 815 rows"
    record_run(str(folder), RunRecord("bad", "failed", START, START, "{}", "", error=error))
    (folder / "reports").mkdir()
    (folder / "reports" / "a.html").write_text("<li>x@home</li><li>u-2</li>")


def pointer(number: int, versions: dict[str, int], **changes: Any) -> Published:
    plain: dict[str, Any] = {
        "run_id": f"run-{number}",
        "published_at": START + timedelta(days=number + 1),
        "as_of": START + timedelta(days=number + 1),
        "fit_id": "fit-1",
        "versions": versions,
        "config_fingerprint": "0123456789abcdef",
        "settings": json.dumps(SETTINGS),
        "spec": SequenceSpec().to_json(),
        "watermark": START + timedelta(days=number, hours=1),
    }
    return Published(**(plain | changes))


def rows(folder: Path) -> dict[str, list[str]]:
    """Sorted rows of each table with users, as published or, where it is not covered, as it is."""
    from pipelines.erasure.tables import user_tables
    from pipelines.reading import read_table

    found = published(str(folder))
    assert found is not None
    return {
        name: sorted(str(row) for row in read_table(str(folder), name, found.versions.get(name)).to_pylist())
        for name in user_tables(folder)
    }


def files(folder: Path) -> dict[str, bytes]:
    """Every file under a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
