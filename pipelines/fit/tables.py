"""A fit as rows of the silver tables, and back."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from features.hops import CLASSES, PAIRS, HopNull
from features.vectors import SOURCE_ITEM, stored_vectors
from pipelines.errors import WarehouseError
from pipelines.fit.artefact import Drift, Fit, Theme
from pipelines.fit.counts import Frequencies
from pipelines.fit.options import FitOptions

FITS, THEMES, ITEM_VECTORS, HOP_NULLS, FREQUENCIES = FIT_TABLES = (
    "silver/fits",
    "silver/themes",
    "silver/item_vectors",
    "silver/hop_nulls",
    "silver/frequencies",
)

_SCORED: Final = pa.list_(pa.struct([("index", pa.int32()), ("score", pa.float64())]))

FITS_SCHEMA: Final = pa.schema(
    [
        ("fit_id", pa.string()),
        ("run_id", pa.string()),
        ("train_end", pa.timestamp("us", tz="UTC")),  # null: all events
        ("method", pa.string()),
        ("dimensions", pa.int32()),
        ("themes", pa.int32()),
        ("last_theme_id", pa.int32()),
        ("silhouette", pa.float64()),
        ("counts_tried", pa.map_(pa.int32(), pa.float64())),
        ("options", pa.string()),  # JSON
        ("sizes", pa.map_(pa.string(), pa.int64())),
        ("drift", pa.string()),  # JSON; null for a first fit
    ]
)
THEMES_SCHEMA: Final = pa.schema(
    [
        ("fit_id", pa.string()),
        ("theme_id", pa.int32()),
        ("centroid", pa.list_(pa.float64())),
        ("sessions", pa.int64()),
        ("share", pa.float64()),
        ("silhouette", pa.float64()),
        ("top_items", _SCORED),
        ("top_categories", _SCORED),
    ]
)
NULLS_SCHEMA: Final = pa.schema(
    [
        ("fit_id", pa.string()),
        ("left_class", pa.string()),
        ("right_class", pa.string()),
        ("distances", pa.list_(pa.float64())),
    ]
)


def fit_rows(fit: Fit, run_id: str = "") -> dict[str, pa.Table]:
    """Rows to append to each of ``FIT_TABLES``; they fit one process, as learning them did."""
    return {
        FITS: _fits_row(fit, run_id),
        THEMES: _themes_rows(fit),
        ITEM_VECTORS: _vector_rows(fit),
        HOP_NULLS: _null_rows(fit),
        FREQUENCIES: _frequency_rows(fit),
    }


def load_fit(read: Callable[[str], DataFrame], fit_id: str) -> Fit:
    """The fit of that id; ``read`` gives the rows of a table by its name.

    Raises WarehouseError where the tables do not hold it, or hold other content than it was named for.
    """
    rows = {name: read(name).where(F.col("fit_id") == fit_id).toArrow() for name in FIT_TABLES}
    if rows[FITS].num_rows == 0:
        raise WarehouseError(f"{FITS} holds no fit {fit_id}; run with --fit refit to learn one")
    row = rows[FITS].slice(0, 1).to_pylist()[0]
    themes = sorted(rows[THEMES].to_pylist(), key=lambda theme: int(theme["theme_id"]))
    dim = int(row["dimensions"])
    fit = Fit(
        options=FitOptions.from_json(json.loads(row["options"])),
        train_end=_micros(rows[FITS]),
        table=stored_vectors(rows[ITEM_VECTORS], dim),
        centroids=np.array([theme["centroid"] for theme in themes], dtype=np.float64).reshape(-1, dim),
        themes=tuple(_theme(theme) for theme in themes),
        silhouette=row["silhouette"],
        counts_tried=dict(row["counts_tried"]),
        last_theme_id=row["last_theme_id"],
        hop_null=_read_null(rows[HOP_NULLS]),
        items=_read_frequencies(rows[FREQUENCIES], "item"),
        categories=_read_frequencies(rows[FREQUENCIES], "category"),
        types=_read_frequencies(rows[FREQUENCIES], "event_type"),
        sizes=dict(sorted(row["sizes"])),
        drift=_drift(row["drift"]),
    )
    if fit.fit_id != fit_id:
        raise WarehouseError(
            f"fit {fit_id}: the stored rows are not what was learned (their hash is {fit.fit_id}); "
            "restore the silver fit tables, or run with --fit refit"
        )
    return fit


def _fits_row(fit: Fit, run_id: str) -> pa.Table:
    row = {
        "fit_id": fit.fit_id,
        "run_id": run_id,
        "train_end": fit.train_end,
        "method": fit.options.embeddings.method,
        "dimensions": fit.table.dim,
        "themes": len(fit.themes),
        "last_theme_id": fit.last_theme_id,
        "silhouette": fit.silhouette,
        "counts_tried": list(fit.counts_tried.items()),
        "options": json.dumps(fit.options.to_json(), sort_keys=True),
        "sizes": list(fit.sizes.items()),
        "drift": json.dumps(asdict(fit.drift), sort_keys=True) if fit.drift else None,
    }
    return pa.Table.from_pylist([row], schema=FITS_SCHEMA)


def _themes_rows(fit: Fit) -> pa.Table:
    rows = [
        asdict(theme)
        | {
            "fit_id": fit.fit_id,
            "centroid": centroid.tolist(),
            "top_items": _scored(theme.top_items),
            "top_categories": _scored(theme.top_categories),
        }
        for theme, centroid in zip(fit.themes, fit.centroids, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=THEMES_SCHEMA)


def _vector_rows(fit: Fit) -> pa.Table:
    """(fit_id, kind, index, source, n_events, vector); float32 holds grid values exactly."""
    table = fit.table.to_arrow()
    source, index = table.column("source").to_numpy(), table.column("index").to_numpy()
    n = np.where(source == SOURCE_ITEM, _counts_of(fit.items, index), _counts_of(fit.categories, index))
    kind = np.where(source == SOURCE_ITEM, "item", "category")
    columns = {
        "fit_id": _repeat(fit.fit_id, len(index)),
        "kind": pa.array(kind, pa.string()),
        "index": table.column("index"),
        "source": pa.array(np.where(source == SOURCE_ITEM, "sessions", fit.options.embeddings.method)),
        "n_events": pa.array(n),
        "vector": table.column("vector"),
    }
    return pa.table(columns)


def _null_rows(fit: Fit) -> pa.Table:
    rows = []
    for pair in range(PAIRS):
        left, right = divmod(pair, len(CLASSES))
        distances = fit.hop_null.distance[fit.hop_null.offsets[pair] : fit.hop_null.offsets[pair + 1]]
        row = {"left_class": CLASSES[left], "right_class": CLASSES[right], "distances": distances.tolist()}
        rows.append(row | {"fit_id": fit.fit_id})
    return pa.Table.from_pylist(rows, schema=NULLS_SCHEMA)


def _frequency_rows(fit: Fit) -> pa.Table:
    """(fit_id, kind, index, count); what is named later than ``train_end`` has no row: it counts 0."""
    kinds = {"item": fit.items, "category": fit.categories, "event_type": fit.types}
    number = [len(frequencies.index) for frequencies in kinds.values()]
    columns = {
        "fit_id": _repeat(fit.fit_id, sum(number)),
        "kind": pa.array(np.repeat(np.array(list(kinds)), number), pa.string()),
        "index": pa.array(np.concatenate([frequencies.index for frequencies in kinds.values()])),
        "count": pa.array(np.concatenate([frequencies.count for frequencies in kinds.values()])),
    }
    return pa.table(columns)


def _read_null(rows: pa.Table) -> HopNull:
    found = {(row["left_class"], row["right_class"]): row["distances"] for row in rows.to_pylist()}
    parts = [np.array(found[(left, right)], dtype=np.float64) for left in CLASSES for right in CLASSES]
    return HopNull(np.concatenate(parts), np.cumsum([0, *map(len, parts)], dtype=np.int64))


def _read_frequencies(rows: pa.Table, kind: str) -> Frequencies:
    own = rows.filter(pa.compute.equal(rows.column("kind"), kind))
    index, count = own.column("index").to_numpy(), own.column("count").to_numpy()
    order = np.argsort(index)
    return Frequencies(index[order], count[order])


def _theme(row: dict[str, Any]) -> Theme:
    tops = [
        tuple((int(one["index"]), float(one["score"])) for one in row[name])
        for name in ("top_items", "top_categories")
    ]
    return Theme(row["theme_id"], row["sessions"], row["share"], row["silhouette"], tops[0], tops[1])


def _drift(text: str | None) -> Drift | None:
    if text is None:
        return None
    plain = json.loads(text)
    kept = {int(theme): cosine for theme, cosine in plain["kept"].items()}
    return Drift(**plain | {"kept": kept, "born": tuple(plain["born"]), "ended": tuple(plain["ended"])})


def _scored(scores: tuple[tuple[int, float], ...]) -> list[dict[str, float]]:
    return [{"index": index, "score": score} for index, score in scores]


def _counts_of(frequencies: Frequencies, index: NDArray[np.int32]) -> NDArray[np.int64]:
    place = np.searchsorted(frequencies.index, index).clip(max=max(len(frequencies.index) - 1, 0))
    return frequencies.count[place] if len(frequencies.index) else np.zeros(len(index), dtype=np.int64)


def _micros(rows: pa.Table) -> int | None:
    value = rows.column("train_end").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())[0].as_py()
    return None if value is None else int(value)


def _repeat(text: str, times: int) -> pa.Array:
    return pa.array(np.full(times, text), pa.string())
