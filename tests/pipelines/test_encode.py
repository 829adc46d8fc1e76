"""Encoding: indices for ids, 1 for the unknown, nothing at or after as_of, users whole and in order."""

from datetime import UTC, datetime

import pytest

from features.resume import ORDERED_EVENTS
from pipelines.config.model import SparkSettings
from pipelines.encode import encode, order_by_user, partition_count
from pipelines.vocabulary import extend_vocabularies
from pipelines.warehouse import Warehouse

SCHEMA = (
    "event_id string, user_id string, item_id string, category_id string, event_type string, mode int, "
    "ts timestamp, sequence long, session_key string"
)


def at(second, micro=0):
    return datetime(2024, 1, 1, 0, 0, second, micro, tzinfo=UTC)


ROWS = [
    # event, user, item, category, type, mode, ts, sequence, session key
    ("e5", "v", "i1", "c1", "buy", 3, at(1), 10, None),
    ("e4", "v", "i1", "c1", "buy", 3, at(1), 9, None),  # sequence is a number: 9 before 10
    ("e3", "v", "i1", "c1", "view", 1, at(1), 10, None),  # browse before purchase
    ("e2", "v", "i2", None, "view", 1, at(1), None, None),  # no sequence comes first
    ("e1", "v", "i2", "c1", "view", 1, at(1), 10, "k"),  # event id decides
    ("e0", "v", "i9", "c9", "view", 1, at(0, 999_999), None, None),
    ("e6", "v", "i1", "c1", "view", 1, at(2), None, None),  # at as_of
    ("e7", "u", "i1", "c1", "view", 1, at(1, 999_999), None, None),
]


@pytest.fixture(scope="module")
def encoded(spark, tmp_path_factory):
    warehouse = Warehouse(spark, str(tmp_path_factory.mktemp("encode")))
    events = spark.createDataFrame(ROWS, SCHEMA)
    extend_vocabularies(warehouse, events.where("item_id != 'i9'"))
    pinned = {"silver/items": warehouse.version("silver/items")}
    extend_vocabularies(warehouse, events.select("*").where("category_id = 'c1'"))
    return encode(events, warehouse, at(2), pinned)


def test_codes_and_as_of(encoded):
    rows = {row.event_id: row for row in encoded.collect()}
    assert set(rows) == {"e0", "e1", "e2", "e3", "e4", "e5", "e7"}
    micros = 1704067200_000_000
    assert rows["e0"].asDict() == {
        "user_id": "v", "event_id": "e0", "ts": micros + 999_999, "item": 1, "category": 1, "type": 3,
        "mode": 1, "session_key": None, "sequence": None,
    }  # fmt: skip
    assert (rows["e5"].item, rows["e5"].category, rows["e5"].type, rows["e5"].mode) == (2, 2, 2, 3)
    assert (rows["e2"].item, rows["e2"].category, rows["e1"].session_key) == (3, 1, "k")


def test_order_and_schema(spark, encoded):
    shuffled = encoded.orderBy("event_id")
    for partitions in (1, 3):
        frame = order_by_user(shuffled, partitions)
        assert frame.rdd.getNumPartitions() == partitions
        of_partition = frame.rdd.glom().collect()
        holders = [{row.user_id for row in rows} for rows in of_partition]
        assert sum(map(len, holders)) == 2  # each user in one partition
        order = [row.event_id for rows in of_partition for row in rows if row.user_id == "v"]
        assert order == ["e0", "e2", "e4", "e1", "e3", "e5"]
    assert frame.columns == ORDERED_EVENTS.names
    types = [field.dataType.simpleString() for field in frame.schema]
    assert types == ["string", "string", "bigint", "int", "int", "int", "int", "string", "bigint"]


@pytest.mark.parametrize(
    ("n_events", "settings", "cores", "expected"),
    [
        (0, {}, 8, 1),
        (1, {}, 8, 1),
        (20_001, {}, 8, 3),
        (500_000, {}, 1, 1),
        (500_001, {}, 1, 2),
        (20_000_000, {}, 2, 40),
        (20_000_000, {"partitions": 7}, 2, 7),
        (10_000, {"events_per_partition": 1_000}, 2, 10),
    ],
)
def test_partition_count(n_events, settings, cores, expected):
    assert partition_count(n_events, SparkSettings(**settings), cores) == expected
