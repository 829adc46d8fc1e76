"""Indices are dense from 2, in order of id, never change, and do not depend on partitioning."""

import pytest

from pipelines.errors import WarehouseError
from pipelines.vocabulary import extend_vocabularies, extend_vocabulary
from pipelines.warehouse import Warehouse

TABLE = "silver/items"


@pytest.fixture
def warehouse(spark, tmp_path):
    return Warehouse(spark, str(tmp_path))


def ids(spark, names, partitions=1):
    return spark.createDataFrame([(name,) for name in names], "id string").repartition(partitions)


def held(warehouse, table=TABLE):
    return {row["id"]: row["index"] for row in warehouse.read(table).collect()}


def test_append_only_and_dense(spark, warehouse):
    assert extend_vocabulary(warehouse, ids(spark, ["b", "a", None, "b"]), TABLE) == 0
    assert held(warehouse) == {"a": 2, "b": 3}
    assert extend_vocabulary(warehouse, ids(spark, ["0", "b", "c"]), TABLE) == 1
    assert held(warehouse) == {"a": 2, "b": 3, "0": 4, "c": 5}
    assert extend_vocabulary(warehouse, ids(spark, ["c", "a"]), TABLE) == 1  # nothing new: no commit
    assert held(warehouse) == {"a": 2, "b": 3, "0": 4, "c": 5}
    assert warehouse.read(TABLE).schema.simpleString() == "struct<id:string,index:int>"


@pytest.mark.parametrize(("input_partitions", "shuffle_partitions"), [(1, 1), (5, 7)])
def test_the_same_ids_get_the_same_indices(spark, warehouse, input_partitions, shuffle_partitions):
    names = [f"{n * 7919 % 1000}" for n in range(1000)]
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", str(shuffle_partitions))
    try:
        extend_vocabulary(warehouse, ids(spark, names, input_partitions), TABLE)
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)
    assert held(warehouse) == {name: place for place, name in enumerate(sorted(names), start=2)}


def test_no_ids_at_all_make_an_empty_table(spark, warehouse):
    extend_vocabulary(warehouse, ids(spark, [None]), "silver/categories")
    assert held(warehouse, "silver/categories") == {}
    extend_vocabulary(warehouse, ids(spark, ["x"]), "silver/categories")
    assert held(warehouse, "silver/categories") == {"x": 2}


def test_int32_is_used_up(spark, warehouse):
    last = spark.createDataFrame([("z", 2**31 - 2)], "id string, index int")
    warehouse.append(last, TABLE)
    with pytest.raises(WarehouseError, match="2 more ids do not fit int32"):
        extend_vocabulary(warehouse, ids(spark, ["a", "b"]), TABLE)
    extend_vocabulary(warehouse, ids(spark, ["a"]), TABLE)
    assert held(warehouse)["a"] == 2**31 - 1


def test_all_three_from_events(spark, warehouse):
    rows = [("i2", "c", "buy", 3), ("i1", None, "view", 1), ("i2", "c", "view", 1)]
    frame = spark.createDataFrame(rows, "item_id string, category_id string, event_type string, mode int")
    assert extend_vocabularies(warehouse, frame) == {
        "silver/items": 0,
        "silver/categories": 0,
        "silver/event_types": 0,
    }
    assert held(warehouse) == {"i1": 2, "i2": 3}
    assert held(warehouse, "silver/categories") == {"c": 2}
    types = {tuple(row) for row in warehouse.read("silver/event_types").collect()}
    assert types == {("buy", 2, 3), ("view", 3, 1)}
