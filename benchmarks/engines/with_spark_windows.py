"""Spark as most write it: windows over one sort (lag, running sum, row number), collect_list; Delta out."""

import sys

from pyspark.sql import Window
from pyspark.sql import functions as F

from benchmarks.engines.session import read_events, spark_session

source, out = sys.argv[1:]
spark = spark_session("windows", source)
events = read_events(spark, source)
whole = Window.partitionBy("user_id")
user = whole.orderBy("ts", "type", "item")
gap = F.col("ts") - F.lag("ts").over(user)
cut = F.coalesce(gap > 1_800_000_000, F.lit(True)).cast("int")
events = events.withColumns({"cut": cut, "number": F.row_number().over(user)})
events = events.withColumns(
    {"session": F.sum("cut").over(user).cast("int"), "n_events": F.count("*").over(whole)}
)
last = events.where("number > n_events - 1024")
order = F.struct("ts", "type", "item", "category", "session")
users = last.groupBy("user_id").agg(
    F.first("n_events").alias("n_events"), F.array_sort(F.collect_list(order)).alias("l")
)
lists = [F.col(f"l.{name}").alias(name) for name in ("session", "item", "category", "type", "ts")]
users.select("user_id", "n_events", *lists).write.format("delta").save(out)
spark.stop()
