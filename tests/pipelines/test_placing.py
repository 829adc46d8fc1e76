"""Spark puts our numbers where we say, and hashes as we do."""

from typing import Any

import numpy as np
import pytest
from pyspark.sql import functions as F

from pipelines.placing import hashing_to, spark_hash


@pytest.mark.parametrize("partitions", [1, 2, 7, 64])
def test_a_number_for_each_partition(spark: Any, partitions: int) -> None:
    keys = [(key,) for key in hashing_to(partitions)]
    placed = spark.createDataFrame(keys, "key int").repartition(partitions, "key").rdd.glom().collect()
    assert [[row.key for row in rows] for rows in placed] == [[key] for (key,) in keys]


def test_the_hash_is_sparks(spark: Any) -> None:
    numbers = np.random.default_rng(1).integers(-(2**31), 2**31, 1_000)
    frame = spark.createDataFrame([(int(number),) for number in numbers], "number int")
    assert [row[0] for row in frame.select(F.hash("number")).collect()] == spark_hash(numbers).tolist()
