"""Which session ids are kept as superseded."""

from typing import Any

from pyspark.sql import DataFrame

from pipelines.layers import superseded


def sessions(spark: Any, *keys: str) -> DataFrame:
    """A session for each ``user.session``."""
    return spark.createDataFrame([key.split(".") for key in keys], "user_id string, session_id string")


def test_ids_that_are_gone_are_kept_of_users_who_are_still_there(spark: Any) -> None:
    """Session a2 was split; user b's are as they were; user c was erased."""
    old = sessions(spark, "a.a1", "a.a2", "b.b1", "c.c1")
    new = sessions(spark, "a.a1", "a.a3", "a.a4", "b.b1", "d.d1")
    rows = superseded(old, new, new.select("user_id").distinct(), "run-2").collect()
    assert [tuple(row) for row in rows] == [("a", "a2", "run-2")]
