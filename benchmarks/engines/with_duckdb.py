"""DuckDB, one process: two windows, then one sorted list of structs a user."""

import sys
from pathlib import Path

import duckdb

source, out = map(Path, sys.argv[1:])
out.mkdir(parents=True)
# A list is sorted by its structs' first fields, cheaper than by ORDER BY in the aggregate.
columns = ("ts", "type", "item", "category", "session")
struct = ", ".join(f"'{name}': {name}" for name in columns)
lists = ", ".join(f"list_transform(l[-1024:], lambda x: x.{name}) AS {name}" for name in columns)
connection = duckdb.connect()
connection.execute("SET preserve_insertion_order = false")
connection.execute(f"""
COPY (
    WITH events AS (
        SELECT user_id, item_id::INT AS item, category_id AS category, epoch_us(ts) AS ts, (
            CASE event_type WHEN 'pv' THEN 1 WHEN 'cart' THEN 2 WHEN 'fav' THEN 3 ELSE 4 END
        )::TINYINT AS type
        FROM read_parquet('{source}/*.parquet')
    ), cuts AS (
        SELECT *, coalesce(ts - lag(ts) OVER w > 1800000000, true)::INT AS cut
        FROM events WINDOW w AS (PARTITION BY user_id ORDER BY ts, type, item)
    ), sessions AS (
        SELECT *, (sum(cut) OVER (
            PARTITION BY user_id ORDER BY ts, type, item ROWS UNBOUNDED PRECEDING
        ))::INT AS session FROM cuts
    ), users AS (
        SELECT user_id, list_sort(list({{{struct}}})) AS l FROM sessions GROUP BY user_id
    )
    SELECT user_id, len(l) AS n_events, {lists} FROM users
) TO '{out}/users.parquet' (FORMAT parquet, COMPRESSION zstd)
""")
