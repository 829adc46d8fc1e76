"""RePlay's Sessionizer on pandas: the session part of the task; one row a session."""

import sys
from pathlib import Path

import pandas as pd
from replay.preprocessing.sessionizer import Sessionizer

AS_LONG = 1  # its gap cuts at >= where ours cuts at >; times are whole seconds
source, out = map(Path, sys.argv[1:])
events = pd.read_parquet(source, columns=["user_id", "ts"])
events["timestamp"] = events.pop("ts").astype("int64") // 1_000_000
events = Sessionizer(session_gap=1_800 + AS_LONG).transform(events)
sessions = events.groupby("session_id").agg(
    user_id=("user_id", "first"), start=("timestamp", "min"), n_events=("timestamp", "size")
)
out.mkdir(parents=True)
sessions.reset_index(drop=True).to_parquet(out / "sessions.parquet", compression="zstd")
