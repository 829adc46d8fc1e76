"""One task, several engines: raw Parquet events to each user's last 1,024 events with session ordinals.

Every engine is a program of its own, ``python ENGINE.py SOURCE OUT``, written as a good user of it would. It
reads ``SOURCE/*.parquet`` (user_id, item_id: int64; category_id: int32; event_type: string; ts: timestamp in
µs, UTC), sorts each user's events by ts, type and item, opens a session where a gap is longer than thirty
minutes, and writes zstd Parquet under ``OUT`` with one row a user: ``user_id``, ``n_events`` (of the whole
history), and lists of the last 1,024 events, oldest first: ``session`` (from 1), ``item`` (int32),
``category``, ``type`` (pv 1, cart 2, fav 3, buy 4) and ``ts`` (µs).
"""
