"""Polars, one process: one sort, flags in columns, lists by group."""

import sys
from pathlib import Path

import polars as pl

GAP_US, LAST = 1_800_000_000, 1_024
TYPES = {"pv": 1, "cart": 2, "fav": 3, "buy": 4}
source, out = map(Path, sys.argv[1:])

events = (
    pl.scan_parquet(source / "*.parquet")
    .select(
        "user_id",
        pl.col("item_id").cast(pl.Int32).alias("item"),
        pl.col("category_id").alias("category"),
        pl.col("event_type").replace_strict(TYPES, return_dtype=pl.Int8).alias("type"),
        pl.col("ts").dt.epoch("us"),
    )
    .collect()
    .sort("user_id", "ts", "type", "item")
)
later = pl.col("ts") - pl.col("ts").shift(1) > GAP_US
other = pl.col("user_id") != pl.col("user_id").shift(1)
events = events.with_columns((later | other).fill_null(True).cum_sum().alias("session"))
session = (pl.col("session").tail(LAST) - pl.col("session").first() + 1).cast(pl.Int32)
lists = (pl.col(name).tail(LAST) for name in ("item", "category", "type", "ts"))
users = events.group_by("user_id", maintain_order=True).agg(pl.len().alias("n_events"), session, *lists)
out.mkdir(parents=True)
users.write_parquet(out / "users.parquet", compression="zstd")
