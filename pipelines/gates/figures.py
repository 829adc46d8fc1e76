"""Asking Spark for figures: one row of numbers, distinct values, broken rows."""

from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

Metrics = dict[str, float]
"""Names and numbers; counts are ints."""


def behind(rows: DataFrame, kept: DataFrame | None, **otherwise: int | None) -> DataFrame:
    """The rows with columns of ``kept``, by user; ``otherwise`` where it has nothing of a user."""
    columns = {name: sf.lit(value).cast("int") for name, value in otherwise.items()}
    if kept is None:
        return rows.withColumns(columns)
    joined = rows.join(kept.select("user_id", *otherwise), "user_id", "left")
    return joined.withColumns({name: sf.coalesce(name, value) for name, value in columns.items()})


def one_row(frame: DataFrame) -> dict[str, Any]:
    """The columns of a frame's only row."""
    row = frame.first()
    assert row is not None
    return row.asDict()


def distinct_of(column: str) -> tuple[Column, Column]:
    """What ``count_repeated`` asks of the query that measures the rest."""
    present = sf.col(column).isNotNull()
    return (
        sf.count_if(present).alias(f"n_{column}"),
        sf.countDistinct(sf.when(present, sf.xxhash64(column))).alias(f"distinct_{column}"),
    )


def distinct_in(table: DataFrame, column: str) -> DataFrame:
    """The same of a table, as a frame of one row: a query of its own, for many rows.

    Beside other figures each distinct value would carry all of them through the shuffle (measured on 4 M
    events: 3.3 s, apart 0.9 and 1.7).
    """
    hashes = table.where(sf.col(column).isNotNull()).select(sf.xxhash64(column).alias("hash"))
    return (
        hashes.repartition("hash")
        .groupBy("hash")
        .agg(sf.count("*").alias("n"))
        .agg(
            sf.coalesce(sf.sum("n"), sf.lit(0)).alias(f"n_{column}"),
            sf.count("*").alias(f"distinct_{column}"),
        )
    )


def count_repeated(table: DataFrame, column: str, found: dict[str, Any]) -> int:
    """Rows less distinct values, exactly; nulls are counted elsewhere. Takes its figures out of ``found``.

    Distinct 64-bit hashes prove distinct values and shuffle a quarter of the bytes of an id; only
    where hashes repeat are the values themselves counted.
    """
    n, distinct = found.pop(f"n_{column}"), found.pop(f"distinct_{column}")
    if n != distinct:
        distinct = one_row(table.agg(sf.countDistinct(column).alias("distinct")))["distinct"]
    return int(n - distinct)


def missing(name: str) -> Column:
    """Where a column is null or an empty text."""
    return sf.col(name).isNull() | (sf.col(name).cast("string") == "")


def is_not(condition: Column) -> Column:
    """Where a condition does not hold, null included."""
    return ~sf.coalesce(condition, sf.lit(False))


def added(names: list[str]) -> Column:
    """The sum of columns."""
    total = sf.col(names[0])
    for name in names[1:]:
        total = total + sf.col(name)
    return total


def share(part: float, whole: float) -> float:
    """A quotient; 0 of nothing."""
    return part / whole if whole else 0.0
