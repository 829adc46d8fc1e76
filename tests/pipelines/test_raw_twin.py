"""Ingest by Spark and the same in memory, for serving: one answer."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from features.raw import RAW_EVENTS, derive_event_id, in_order
from pipelines.encode import order_by_user
from pipelines.ingest.deduplicate import deduplicate
from pipelines.ingest.event_ids import with_event_id
from pipelines.ingest.instant_columns import parse_micros
from training.serving.columns import micros


def random_events(seed: int, size: int = 400) -> pd.DataFrame:
    """Few ids and times, so that events repeat, tie and conflict; text beyond ASCII."""
    rng = np.random.default_rng(seed)
    draw = lambda values: rng.choice(np.array(values, dtype=object), size)  # noqa: E731
    return pd.DataFrame(
        {
            "user_id": draw(["u", "v", "ü"]),
            "item_id": draw(["i", "j", "🎈", "10", "9"]),
            "category_id": draw([None, "c", "d", "é"]),
            "event_type": draw(["pv", "buy"]),
            "mode": rng.integers(1, 4, size).astype(np.int32),
            "ts_us": rng.integers(0, 6, size),
            "sequence": draw([None, 1, 2, 10]),
            "session_key": draw([None, "s", "t"]),
            "event_id": [f"e{n}" for n in rng.integers(0, 150, size)],
        }
    )


@pytest.mark.parametrize("source_ids", [True, False])
def test_duplicates_ids_and_order(spark, source_ids):
    events = random_events(7)
    if source_ids:  # an id belongs to one user
        events["user_id"] = [["u", "v", "ü"][int(name[1:]) % 3] for name in events["event_id"]]
    else:
        events["event_id"] = None
    schema = (
        "user_id string, item_id string, category_id string, event_type string, mode int, ts_us bigint, "
        "sequence bigint, session_key string, event_id string"
    )
    plain = [
        tuple(int(value) if isinstance(value, np.integer) else value for value in row)
        for row in events.itertuples(index=False)
    ]
    batch = spark.createDataFrame(plain, schema)
    single = with_event_id(deduplicate(batch, None, 2, source_ids, [(0, len(plain))]), source_ids)
    encoded = single.select(
        "user_id",
        "event_id",
        F.col("ts_us").alias("ts"),
        *(F.lit(1).alias(name) for name in ("item", "category", "type")),
        "mode",
        F.concat_ws("|", "item_id", "category_id", "event_type", "session_key").alias("session_key"),
        "sequence",
    )
    theirs = [
        (row.user_id, row.ts, row.mode, row.session_key, row.event_id)
        for row in order_by_user(encoded, 1).collect()
    ]
    batch = pa.RecordBatch.from_pandas(events, schema=RAW_EVENTS, preserve_index=False)
    ours = []
    for row in batch.take(pa.array(in_order(batch))).to_pylist():
        derived = derive_event_id(*(row[name] for name in ("user_id", "item_id", "event_type", "ts_us")))
        parts = [row[name] for name in ("item_id", "category_id", "event_type", "session_key")]
        told = "|".join(part for part in parts if part is not None)
        ours.append((row["user_id"], row["ts_us"], row["mode"], told, row["event_id"] or derived))
    assert ours == theirs
    assert len(ours) < len(events)


TIMES = {
    "iso": [
        "2017-12-03T08:00:00Z",
        "2017-12-03 08:00:00.25",
        "2017-12-03",
        "2017-12-03T08:00:00.123456+05:30",
    ],
    "s": ["1512288000", "1512288000.25", "1.512288E9", "0"],
    "ms": ["1512288000123"],
    "us": ["1512288000123456"],
}


@pytest.mark.parametrize("unit", TIMES)
def test_times(spark, unit):
    frame = spark.createDataFrame([(text,) for text in TIMES[unit]], "text string")
    theirs = [row[0] for row in frame.select(parse_micros(F.col("text"), unit)).collect()]
    assert micros(pd.Series(TIMES[unit]), "ts", unit)[0].tolist() == theirs
    assert min(theirs) >= 0
