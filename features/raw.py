"""What ingest makes of raw events, for histories in memory: each event once, in the order of the kernels.

The batch job says the same in Spark's terms (``pipelines.ingest.deduplicate``, ``event_ids`` and
``pipelines.encode.order_by_user``); a test holds the two to one answer.
"""

import hashlib
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

PAYLOAD: Final = ("user_id", "item_id", "category_id", "event_type", "ts_us", "sequence", "session_key")
"""The canonical payload, in the order in which two are compared; null is the smallest."""

DERIVED_KEY: Final = ("ts_us", "user_id", "item_id", "event_type")
"""What a derived event id is made of: grouping by it needs no hash and leaves events ordered by time."""

ORDER: Final = ("user_id", "ts_us", "sequence", "mode", "event_id")
"""The order of events; a missing sequence comes first."""

RAW_EVENTS: Final = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("category_id", pa.string()),  # nullable
        ("event_type", pa.string()),
        ("mode", pa.int32()),
        ("ts_us", pa.int64()),
        ("sequence", pa.int64()),  # nullable
        ("session_key", pa.string()),  # nullable
        ("event_id", pa.string()),  # null where the source gives none
    ]
)
"""Valid events as the source has them, in any order and perhaps several times."""


def in_order(events: pa.RecordBatch) -> NDArray[np.int64]:
    """Places of the events, each event once, sorted by user and order; ``events`` as ``RAW_EVENTS``.

    An event is known by its id or, where ``event_id`` is null, by ``DERIVED_KEY``. Of several under one id
    of a user the smallest payload stays. Ids of one user say nothing of another's, so that an answer does
    not depend on who else is asked for.
    """
    if not events.num_rows:
        return np.zeros(0, np.int64)
    source_ids = events.column("event_id").null_count == 0
    key = ("user_id", "event_id") if source_ids else DERIVED_KEY
    rest = [name for name in (*PAYLOAD, "mode") if name not in key]
    order = _sorted(events, (*key, *rest))
    kept = order[_begins(events, key, order)]
    kept.sort()
    single = events.take(pa.array(kept))
    if not source_ids:
        single = _with_ids(single)
    return kept[_sorted(single, ORDER)]


def derive_event_id(user_id: str, item_id: str, event_type: str, ts_us: int) -> str:
    """md5 of user, item, type and ts (µs), hex, each part with its length in front (our choice)."""
    parts = "".join(f"{len(text)}:{text} " for text in (user_id, item_id, event_type))
    return hashlib.md5(f"{parts}{ts_us}".encode(), usedforsecurity=False).hexdigest()


def _with_ids(events: pa.RecordBatch) -> pa.RecordBatch:
    """The events with derived ids where these decide their order, and empty ones elsewhere."""
    before = ORDER[:-1]
    order = _sorted(events, before)
    begins = _begins(events, before, order)
    tied = np.zeros(events.num_rows, dtype=bool)
    tied[order] = ~begins | ~np.append(begins[1:], True)
    ids = np.full(events.num_rows, "", dtype=object)
    names = ("user_id", "item_id", "event_type", "ts_us")
    parts = (events.column(name).filter(pa.array(tied)).to_pylist() for name in names)
    ids[tied] = [derive_event_id(*part) for part in zip(*parts, strict=True)]
    at = events.schema.get_field_index("event_id")
    columns = [*events.columns[:at], pa.array(ids, pa.string()), *events.columns[at + 1 :]]
    return pa.record_batch(columns, schema=events.schema)


def _sorted(events: pa.RecordBatch, names: tuple[str, ...]) -> NDArray[np.int64]:
    keys = [(name, "ascending") for name in names]
    places = pc.sort_indices(events, sort_keys=keys, null_placement="at_start")
    return np.asarray(places.to_numpy(), dtype=np.int64)


def _begins(events: pa.RecordBatch, names: tuple[str, ...], order: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether an event, in that order, differs from the one before in any of the columns."""
    begins = np.zeros(len(order), dtype=bool)
    begins[0] = True
    for name in names:
        codes = events.column(name).dictionary_encode(null_encoding="encode").indices.to_numpy()[order]
        begins[1:] |= codes[1:] != codes[:-1]
    return begins
