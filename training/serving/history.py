"""From a request's raw events to rows of ``gold/user_sequences``, by the kernels that the batch job runs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.block import ENCODED_EVENTS
from features.chunks import arrow_schema, ending_rows
from features.codes import MODE_CODES, UNKNOWN
from features.raw import RAW_EVENTS, in_order
from features.sessions import sessionize_batch
from features.tags import Themes, theme_tags
from training.serving.request import Asked
from training.serving.source import Names, SourceRules, codes_of, mode_codes

Counts = dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Histories:
    """Rows of the users who have a history, and what became of their events."""

    rows: pa.Table  # columns of ``features.rows.arrow_schema``
    counts: Counts  # by what became of them; each (U,)


def histories(asked: Asked, rules: SourceRules, names: Names, themes: Themes) -> Histories:
    """One row of each user with an event before ``as_of``.

    Events at or after ``as_of``, before the source's first day, and of types that the batch job refuses are
    left out, as are further copies of an event.
    """
    users = len(asked.user_ids)
    raw, mode = _typed(asked.events, rules)
    ts = raw.column("ts_us").to_numpy()
    kept = np.ones(len(ts), dtype=bool)
    counts: Counts = {"given": np.bincount(asked.user, minlength=users)}
    for reason, applies in (
        ("not_before_as_of", ts >= asked.as_of),
        ("before_source_start", ts < (rules.start or 0)),
        ("unlisted_type", mode == 0),
    ):
        counts[reason] = np.bincount(asked.user[kept & applies], minlength=users)
        kept &= ~applies
    places = np.flatnonzero(kept)
    places = places[in_order(raw.take(pa.array(places)))]
    counts["duplicate"] = np.bincount(asked.user[kept], minlength=users) - np.bincount(
        asked.user[places], minlength=users
    )
    encoded = _encoded(raw.take(pa.array(places)), names, asked.with_categories)
    item = encoded.column("item").to_numpy()
    counts["unknown_item"] = np.bincount(asked.user[places][item == UNKNOWN], minlength=users)
    return Histories(pa.Table.from_batches(_rows(encoded, rules, themes), arrow_schema(rules.spec)), counts)


def _rows(encoded: pa.RecordBatch, rules: SourceRules, themes: Themes) -> Iterator[pa.RecordBatch]:
    if not encoded.num_rows:
        return
    block, _ = sessionize_batch(None, encoded, rules.sessions)
    tags = theme_tags(block, themes)
    yield from ending_rows(block, tags.theme_running, tags.theme_session, rules.spec)


def _typed(events: pa.RecordBatch, rules: SourceRules) -> tuple[pa.RecordBatch, NDArray[np.int32]]:
    """The events as ``RAW_EVENTS`` and their modes, 0 where the batch job refuses the type."""
    own = rules.untyped_mode
    typed = events.column("event_type") if rules.typed else pa.nulls(events.num_rows, pa.string())
    types = pc.fill_null(typed, own)
    there = typed.is_valid().to_numpy(zero_copy_only=False)
    mode = np.where(there, mode_codes(types, rules), MODE_CODES[own]).astype(np.int32)
    same = ("user_id", "item_id", "category_id", "sequence", "session_key", "event_id")
    columns = {name: events.column(name) for name in same}
    columns |= {"event_type": types, "mode": pa.array(mode), "ts_us": events.column("ts")}
    return pa.record_batch([columns[name] for name in RAW_EVENTS.names], schema=RAW_EVENTS), mode


def _encoded(events: pa.RecordBatch, names: Names, with_categories: bool) -> pa.RecordBatch:
    """The events as ``ENCODED_EVENTS``; without categories an item has its main one."""
    item = codes_of(events.column("item_id"), names.items)
    category = (
        codes_of(events.column("category_id"), names.categories)
        if with_categories
        else names.item_category[item]
    )
    columns = {
        "user_id": events.column("user_id"),
        "event_id": pc.fill_null(events.column("event_id"), ""),
        "ts": events.column("ts_us"),
        "item": pa.array(item),
        "category": pa.array(category),
        "type": pa.array(codes_of(events.column("event_type"), names.types)),
        "mode": events.column("mode"),
        "session_key": events.column("session_key"),
    }
    return pa.record_batch([columns[name] for name in ENCODED_EVENTS.names], schema=ENCODED_EVENTS)
