"""Spark as most write it: lag and a running sum over windows, collect_list, array_sort; Delta out."""

import sys

from pyspark.sql import Window
from pyspark.sql import functions as F

from benchmarks.engines.session import read_events, spark_session

source, out = sys.argv[1:]
spark = spark_session("windows", source)
events = read_events(spark, source)
user = Window.partitionBy("user_id").orderBy("ts", "type", "item")
back = Window.partitionBy("user_id").orderBy(F.desc("ts"), F.desc("type"), F.desc("item"))
gap = F.col("ts") - F.lag("ts").over(user)
cut = F.coalesce(gap > 1_800_000_000, F.lit(True)).cast("int")
events = events.withColumn("cut", cut).withColumn("session", F.sum("cut").over(user).cast("int"))
events = events.withColumn("n_events", F.count("*").over(Window.partitionBy("user_id")))
last = events.withColumn("back", F.row_number().over(back)).where("back <= 1024")
order = F.struct("ts", "type", "item", "category", "session")
users = last.groupBy("user_id").agg(
    F.first("n_events").alias("n_events"), F.array_sort(F.collect_list(order)).alias("l")
)
lists = [F.col(f"l.{name}").alias(name) for name in ("session", "item", "category", "type", "ts")]
users.select("user_id", "n_events", *lists).write.format("delta").save(out)
