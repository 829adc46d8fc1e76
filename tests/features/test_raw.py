"""Raw events in memory: each once, in the order of the kernels, by plain loops as the oracle."""

import hashlib
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from features.raw import RAW_EVENTS, derive_event_id, in_order

Row = dict[str, Any]

names = st.sampled_from(["", "a", "b", "aa", "ä", "鍵"])
rows = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(["u", "v"]),
        "item_id": names,
        "category_id": st.none() | names,
        "event_type": st.sampled_from(["pv", "buy"]),
        "mode": st.integers(1, 2),
        "ts_us": st.integers(0, 2),
        "sequence": st.none() | st.integers(-1, 1),
        "session_key": st.none() | names,
        "event_id": st.sampled_from(["x", "y", "z"]),
    }
)


def identity(row: Row) -> tuple[Any, ...]:
    if row["event_id"] is not None:
        return row["user_id"], row["event_id"]
    return row["ts_us"], row["user_id"], row["item_id"], row["event_type"]


def nulls_first(value: Any) -> tuple[bool, Any]:
    return (value is not None, value.encode() if isinstance(value, str) else value or 0)


def payload(row: Row) -> list[tuple[bool, Any]]:
    order = ("user_id", "item_id", "category_id", "event_type", "ts_us", "sequence", "session_key", "mode")
    return [nulls_first(row[name]) for name in order]


def order_of(row: Row) -> list[Any]:
    text = "".join(f"{len(row[name])}:{row[name]} " for name in ("user_id", "item_id", "event_type"))
    own = row["event_id"] or hashlib.md5(f"{text}{row['ts_us']}".encode()).hexdigest()
    return [nulls_first(row[name]) for name in ("user_id", "ts_us", "sequence", "mode")] + [own]


def expected(events: list[Row]) -> list[Row]:
    smallest: dict[tuple[Any, ...], Row] = {}
    for row in events:
        held = smallest.get(identity(row))
        if held is None or payload(row) < payload(held):
            smallest[identity(row)] = row
    return sorted(smallest.values(), key=order_of)


def found(events: list[Row]) -> list[Row]:
    batch = pa.RecordBatch.from_pylist(events, schema=RAW_EVENTS)
    taken: list[Row] = batch.take(pa.array(in_order(batch))).to_pylist()
    return taken


@given(st.lists(rows, max_size=30), st.booleans())
def test_each_event_once_and_in_order(events: list[Row], source_ids: bool) -> None:
    if not source_ids:
        events = [row | {"event_id": None} for row in events]
    assert found(events) == expected(events)


@given(st.lists(rows, min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_the_order_given_means_nothing(events: list[Row], random: Any) -> None:
    shuffled = random.sample(events, len(events))
    assert found(events) == found(shuffled)


def test_a_derived_id_has_its_parts_lengths_in_front() -> None:
    assert derive_event_id("u", "i", "pv", 5) == hashlib.md5(b"1:u 1:i 2:pv 5").hexdigest()
    assert derive_event_id("u 1:i", "", "pv", 5) != derive_event_id("u", "i 0:", "pv", 5)
    assert derive_event_id("ä", "i", "pv", 5) == hashlib.md5("1:ä 1:i 2:pv 5".encode()).hexdigest()
