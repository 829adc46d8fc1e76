"""Events that come too late: their user's later rows are published, and must not change any more."""

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from features.raw import DERIVED_KEY
from pipelines.ingest.deduplicate import SOURCE_KEY
from pipelines.ingest.reasons import LATE
from pipelines.instants import to_micros


def part_late(
    valid: DataFrame, bronze: DataFrame, before: datetime, source_ids: bool
) -> tuple[DataFrame, DataFrame]:
    """The events that may still be taken in, and those before ``before`` that bronze does not hold.

    The latter have their ``reason``. An old event that bronze holds is no late one, but a duplicate.
    """
    key = list(SOURCE_KEY if source_ids else DERIVED_KEY)
    known = bronze.select(*key)
    old = valid.where(F.col("ts_us") < to_micros(before))
    late = old.join(known, key, "left_anti").withColumn("reason", F.lit(LATE))
    in_time = valid.where(F.col("ts_us") >= to_micros(before))
    return in_time.unionByName(old.join(known, key, "left_semi")), late
