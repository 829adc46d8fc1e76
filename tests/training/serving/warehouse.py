"""A small published warehouse from raw events: the job's kernels, but neither Spark nor serving's code."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from features.block import ENCODED_EVENTS
from features.chunks import arrow_schema, chunk_block
from features.codes import MODE_CODES
from features.hops import PAIRS, HopNull
from features.sessions import SessionRule, sessionize
from features.tags import FittedThemes, tag_block
from features.vectors import VectorTable, quantise, unit
from pipelines.pointer import Published, move_pointer, published
from tests.oracles.strands import Event
from tests.training.gold import SPEC, sessions, write_gold

ITEMS, CATEGORIES, DIM, FIT = 60, 9, 6, "f1"
EVENT_TYPES = {"pv": "browse", "cart": "intent", "buy": "purchase"}
COLUMNS = ["user_id", "item_id", "category_id", "event_type", "ts", "event_id"]
START = datetime(2024, 3, 1, tzinfo=UTC)
SECOND, MINUTE = 1_000_000, 60_000_000

SETTINGS: dict[str, Any] = {
    "sessions": {"rule": "gap", "gap": "30min", "max": "24h", "every_n": None},
    "source": {
        "columns": {"event_type": "event_type", "event_id": "event_id", "category_id": "category_id"},
        "ts_unit": "iso",
        "event_types": EVENT_TYPES,
        "unlisted_event_type": "reject",
        "window": {"start": "2024-01-01T00:00:00Z", "end": None},
    },
    "items": None,
}


def raw_events(
    seed: int = 0, sizes: tuple[int, ...] = (1, 2, 5, 9, 20, 33, 34, 40, 65, 66, 90, 150)
) -> pd.DataFrame:
    """Accepted events of users u0, u1 …, in no order; ``ts`` in µs; some tie, some have no category."""
    rng = np.random.default_rng(seed)
    parts = []
    for user, size in enumerate(sizes):
        opens = rng.random(size) < 0.2
        gap = np.where(opens, rng.integers(31, 4_000, size) * MINUTE, rng.integers(0, 9, size) * 37 * SECOND)
        tied = (rng.random(size) < 0.15) & ~opens
        ts = int(START.timestamp()) * SECOND + np.cumsum(np.where(tied, 0, gap + rng.integers(1, 999, size)))
        topic = np.cumsum(opens) * 7 % CATEGORIES
        category = np.where(rng.random(size) < 0.8, topic, rng.integers(0, CATEGORIES, size))
        item = category + CATEGORIES * rng.integers(0, ITEMS // CATEGORIES, size)
        parts.append(
            pd.DataFrame(
                {
                    "user_id": f"u{user}",
                    "item_id": [f"i{n}" for n in item],
                    "category_id": [None if rng.random() < 0.05 else f"c{n}" for n in category],
                    "event_type": rng.choice(list(EVENT_TYPES), size, p=[0.8, 0.15, 0.05]),
                    "ts": ts,
                    "event_id": [f"e{user}-{n}" for n in rng.permutation(size)],
                }
            )
        )
    events = pd.concat(parts, ignore_index=True)
    return events.sample(frac=1.0, random_state=seed, ignore_index=True)


def indices(ids: pd.Series) -> dict[str, int]:
    """The pipeline's names: from 2, in order of id."""
    return {name: at for at, name in enumerate(sorted(ids.dropna().unique()), start=2)}


def fitted(events: pd.DataFrame, seed: int = 3) -> FittedThemes:
    """Random vectors for most items and categories, five themes with a hole in their ids, no hop null."""
    rng = np.random.default_rng(seed)
    item = np.array([at for at in indices(events["item_id"]).values() if at % 5], np.int32)
    category = np.array([at for at in indices(events["category_id"]).values() if at % 4], np.int32)
    table = VectorTable.build(
        item,
        unit(rng.normal(size=(len(item), DIM))),
        category,
        quantise(unit(rng.normal(size=(len(category), DIM)))),
    )
    ids = np.array([2, 3, 5, 6, 9], np.int32)
    centroids = unit(rng.normal(size=(len(ids), DIM)))
    return FittedThemes(table, centroids, ids, HopNull(np.zeros(0), np.zeros(PAIRS + 1, np.int64)), 0.1)


def ordered(events: pd.DataFrame) -> pd.DataFrame:
    """The events with their modes, by user and order."""
    modes = events.assign(mode=events["event_type"].map(EVENT_TYPES).map(MODE_CODES))
    return modes.sort_values(["user_id", "ts", "mode", "event_id"])


def encoded(events: pd.DataFrame, names: pd.DataFrame) -> pa.RecordBatch:
    """``ENCODED_EVENTS`` with the indices of the ids in ``names``."""
    sorted_events = ordered(events)
    columns = {
        "user_id": sorted_events["user_id"],
        "event_id": sorted_events["event_id"],
        "ts": sorted_events["ts"],
        "item": sorted_events["item_id"].map(indices(names["item_id"])).fillna(1),
        "category": sorted_events["category_id"].map(indices(names["category_id"])).fillna(1),
        "type": sorted_events["event_type"].map(indices(names["event_type"])).fillna(1),
        "mode": sorted_events["mode"],
        "session_key": pd.Series([None] * len(sorted_events)),
    }
    arrays = [pa.array(columns[field.name].tolist(), field.type) for field in ENCODED_EVENTS]
    return pa.record_batch(arrays, schema=ENCODED_EVENTS)


def tagged(events: pd.DataFrame, fit: FittedThemes) -> dict[str, list[Event]]:
    """Whole histories by user, as the oracles read them."""
    found: dict[str, list[Event]] = {}
    (block,) = sessionize([encoded(events, events)], SessionRule())
    tags, _, _ = tag_block(block, fit)
    for at, user in enumerate(block.user_ids):
        own = range(block.offsets[at], block.offsets[at + 1])
        found[user] = [
            Event(
                int(block.ts[n]), int(block.item[n]), int(block.category[n]), int(block.mode[n]),
                int(block.session[n]), int(tags.theme_session[n]), int(tags.theme_running[n]),
            )
            for n in own
        ]  # fmt: skip
    return found


def gold(events: pd.DataFrame, fit: FittedThemes, names: pd.DataFrame | None = None) -> pa.Table:
    """Rows of ``gold/user_sequences``; ids are named by those of ``names`` (default: the events')."""
    batch = encoded(events, events if names is None else names)
    rows: list[pa.RecordBatch] = []
    themes, chunks = None, None
    for block in sessionize([batch], SessionRule(), block_events=100):
        tags, _, themes = tag_block(block, fit, themes)
        found, chunks = chunk_block(block, tags.theme_running, tags.theme_session, SPEC, chunks)
        rows += list(found)
    return pa.Table.from_batches(rows, arrow_schema(SPEC))


def build(root: Path, events: pd.DataFrame, settings: dict[str, Any] | None = None) -> Path:
    """Publish the events' tables under ``root``, as of the second after the last event."""
    fit = fitted(events)
    version = write_gold(root / "gold/user_sequences", gold(events, fit))
    table = fit.table.to_arrow()
    last = datetime.fromtimestamp(int(events["ts"].max()) // SECOND + 1, UTC)
    train_end = datetime.fromtimestamp(int(events["ts"].quantile(0.6)) // SECOND, UTC)
    vectors = {
        "fit_id": [FIT] * len(table),
        "kind": ["item" if source == 1 else "category" for source in table.column("source").to_pylist()],
        "index": table.column("index"),
        "vector": table.column("vector"),
    }
    other = {"fit_id": "old", "theme_id": 4, "centroid": [0.0] * DIM}
    themes = [
        {"fit_id": FIT, "theme_id": int(theme), "centroid": centroid.tolist()}
        for theme, centroid in zip(fit.theme_ids, fit.centroids, strict=True)
    ]
    silver = {name: rows(events[column]) for name, column in (
        ("items", "item_id"), ("categories", "category_id"), ("event_types", "event_type"))}  # fmt: skip
    silver["themes"] = pa.Table.from_pylist([other, *themes])
    silver["item_vectors"] = pa.table(vectors)
    silver["fits"] = pa.Table.from_pylist([{"fit_id": FIT, "train_end": train_end, "dimensions": DIM}])
    silver["sessions"] = pa.Table.from_pylist(sessions(root / "gold/user_sequences", version))
    versions = {"gold/user_sequences": version}
    for name, content in silver.items():
        write_deltalake(f"{root}/silver/{name}", content, mode="overwrite")
        versions[f"silver/{name}"] = DeltaTable(f"{root}/silver/{name}").version()
    plain = json.dumps(SETTINGS if settings is None else settings)
    new = Published(f"r{version}", last, last, FIT, versions, "", plain, SPEC.to_json())
    move_pointer(str(root), new, published(str(root)))
    return root


def rows(ids: pd.Series) -> pa.Table:
    """A vocabulary's table."""
    return pa.Table.from_pylist([{"id": name, "index": at} for name, at in indices(ids).items()])
