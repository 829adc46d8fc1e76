"""Small gold tables from random histories, made by the pipeline's own kernels but without Spark."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable, write_deltalake

from features.chunks import arrow_schema, chunk_block
from features.spec import FamilySpec, SequenceSpec
from pipelines.pointer import Published, move_pointer, published
from tests.features.tagged import blocks, random_history
from tests.oracles.strands import Event
from training.published import active_files

SETTINGS = {
    "sessions": {"rule": "gap", "gap": "30min", "max": "24h", "every_n": None},
    "source": {
        "columns": {"event_type": None},
        "ts_unit": "us",
        "event_types": {},
        "unlisted_event_type": "browse",
        "window": {"start": None, "end": None},
    },
    "items": None,
}
"""What a publication says of its source: nothing but the times of events."""

Histories = dict[str, list[Event]]

SPEC = SequenceSpec(
    256,
    32,
    (16, 64, 256),
    (
        FamilySpec("recent", 1, 10),
        FamilySpec("session", 2, 5),
        FamilySpec("theme", 3, 8),
        FamilySpec("category", 3, 6),
        FamilySpec("mode", 2, 6),
    ),
)


def random_users(seed: int, users: int = 12, longest: int = 150) -> Histories:
    """Users u00 … with histories of 1 to ``longest`` events; an event's item is its place + 2."""
    rng = np.random.default_rng(seed)
    return {f"u{u:02d}": random_history(rng, int(rng.integers(1, longest + 1))) for u in range(users)}


def gold_rows(histories: Mapping[str, list[Event]], spec: SequenceSpec = SPEC) -> pa.Table:
    """Rows of ``gold/user_sequences`` for these histories."""
    batches: list[pa.RecordBatch] = []
    state = None
    for block, running, final in blocks(dict(histories), set()):
        rows, state = chunk_block(block, running, final, spec, state)
        batches += list(rows)
    return pa.Table.from_batches(batches, arrow_schema(spec))


def write_gold(path: Path, rows: pa.Table, file_rows: int = 8) -> int:
    """Append rows as the pipeline lays them out, in small files of one length bucket; the version."""
    bucket = rows.column("length_bucket").to_numpy()
    for size in np.unique(bucket):
        own = np.flatnonzero(bucket == size)
        for start in range(0, len(own), file_rows):
            part = rows.take(pa.array(own[start : start + file_rows]))
            write_deltalake(str(path), part, mode="append", partition_by=["length_bucket"])
    return int(DeltaTable(str(path)).version())


def hashed(user: str) -> int:
    """The number that a user id gets in batches."""
    return int(pd.util.hash_array(np.array([user], object), categorize=False).view(np.int64)[0])


def sessions(path: Path, version: int) -> list[dict[str, object]]:
    """Labels of every session in the rows: a hop where the theme is another than the session before's."""
    theme: dict[tuple[str, int], int] = {}
    delta = DeltaTable(str(path), version=version)
    for row in ds.dataset(active_files(delta), format="parquet").to_table().to_pylist():
        places = zip(row["events__session"], row["events__theme_session"], strict=True)
        theme |= {(row["user_id"], ordinal): last for ordinal, last in places if ordinal}
    found: list[dict[str, object]] = []
    for (user, ordinal), own in sorted(theme.items()):
        before = [theme[user, n] for n in range(1, ordinal) if (user, n) in theme]
        hop = own != before[-1] if before else None
        returns = None if hop is None else hop and own in before
        found.append({"user_id": user, "ordinal": ordinal, "is_hop": hop, "is_return": returns})
    return found


def publish(root: Path, version: int, spec: SequenceSpec = SPEC, fit_id: str = "f1") -> None:
    """Name the sequence table's version in ``ops/published``, with small silver tables beside it."""
    train_end = datetime(1970, 1, 1, 0, 0, 40, tzinfo=UTC)
    silver: dict[str, list[dict[str, object]]] = {
        "items": [{"id": f"i{n}", "index": n} for n in range(2, 400)],
        "categories": [{"id": f"c{n}", "index": n} for n in range(2, 40)],
        "event_types": [{"id": f"t{n}", "index": n} for n in range(2, 6)],
        "themes": [
            {"fit_id": fit, "theme_id": n, "centroid": [1.0, 0.0]}
            for fit in (fit_id, "old")
            for n in range(2, 31)
        ],
        "item_vectors": [
            {"fit_id": fit_id, "kind": kind, "index": n, "vector": [0.0, 1.0]}
            for kind, most in (("item", 400), ("category", 40))
            for n in range(2, most)
        ],
        "fits": [{"fit_id": fit_id, "train_end": train_end, "dimensions": 2}],
    }
    silver["sessions"] = sessions(root / "gold/user_sequences", version)
    versions = {"gold/user_sequences": version}
    for name, rows in silver.items():
        write_deltalake(f"{root}/silver/{name}", pa.Table.from_pylist(rows), mode="overwrite")
        versions[f"silver/{name}"] = DeltaTable(f"{root}/silver/{name}").version()
    now = train_end + timedelta(days=1)
    new = Published(f"r{version}", now, now, fit_id, versions, "", json.dumps(SETTINGS), spec.to_json())
    move_pointer(str(root), new, published(str(root)))
