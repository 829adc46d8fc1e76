"""What a warehouse says, after decoding indices and without run metadata: equal builds compare equal."""

import hashlib
import json
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable

from pipelines.reading import read_published_table

RUN_METADATA = {"batch_id", "ingested_at", "run_id", "file"}
TABLES = ("bronze/events", "silver/sessions", "silver/users", "silver/user_state", "gold/user_sequences")
WITH_REFUSED = (*TABLES, "bronze/events_rejected")
"""For batches that bring the same refused rows in the same files; a late row is one of its batch."""
KINDS = {"item": "items", "category": "categories", "event_type": "event_types"}
ENCODED = {
    "events__item": "items",
    "events__category": "categories",
    "events__type": "event_types",
    "category__key": "categories",
    **{
        f"{part}__{column}": table
        for part in ("open", "tail")
        for column, table in (("item", "items"), ("category", "categories"), ("type", "event_types"))
    },
}


def table(warehouse: Path, name: str) -> pd.DataFrame:
    return read_published_table(str(warehouse), name).to_pandas()


def contents(warehouse: Path, tables: tuple[str, ...] = TABLES) -> dict[str, list[str]]:
    """Sorted canonical rows of each table."""
    names = {kind: _names(warehouse, kind) for kind in ("items", "categories", "event_types")}
    return {name: _rows(table(warehouse, name), names) for name in tables}


def digest(warehouse: Path, tables: tuple[str, ...] = TABLES) -> dict[str, str]:
    """One hash a table."""
    return {
        name: hashlib.md5("\n".join(rows).encode()).hexdigest()
        for name, rows in contents(warehouse, tables).items()
    }


def require_same_contents(here: Path, there: Path, tables: tuple[str, ...] = TABLES) -> None:
    """Two warehouses say the same, table by table."""
    expected, found = (contents(warehouse, tables) for warehouse in (there, here))
    for name, rows in expected.items():
        assert found[name] == rows, name


def require_forgotten(warehouse: Path, versions: Mapping[str, int]) -> None:
    """These versions of tables can't be read back."""
    for name, version in versions.items():
        with pytest.raises(Exception, match=r"version|log segment|not found"):
            DeltaTable(str(warehouse / name), version=version).to_pyarrow_table()


def row_sums(warehouse: Path, without: Set[str] = frozenset()) -> dict[str, int]:
    """For large tables: a sum of row hashes of each, indices as they are; no rows of users ``without``."""
    found = {}
    for name in TABLES:
        frame = table(warehouse, name)
        own = frame[~frame["user_id"].isin(without)].drop(columns=list(RUN_METADATA & set(frame.columns)))
        plain = own.map(_text).astype(str)
        found[name] = int(pd.util.hash_pandas_object(plain, index=False).sum())
    return found


def learned(warehouse: Path) -> dict[str, list[str]]:
    """What the fit learned, by ids instead of indices: vectors, counts, themes and hop null."""
    names = {kind: _names(warehouse, table) for kind, table in KINDS.items()}
    rows = {}
    for name in ("silver/item_vectors", "silver/frequencies"):
        frame = table(warehouse, name).drop(columns="fit_id")
        frame["index"] = [names[kind][i] for kind, i in zip(frame["kind"], frame["index"], strict=True)]
        rows[name] = _rows(frame, {})
    themes = table(warehouse, "silver/themes")[["theme_id", "centroid", "sessions"]]
    nulls = table(warehouse, "silver/hop_nulls").drop(columns="fit_id")
    return rows | {"silver/themes": _rows(themes, {}), "silver/hop_nulls": _rows(nulls, {})}


def _names(warehouse: Path, kind: str) -> dict[int, str]:
    frame = table(warehouse, f"silver/{kind}")
    return dict(zip(frame["index"].tolist(), frame["id"].tolist(), strict=True))


def _rows(frame: pd.DataFrame, names: dict[str, dict[int, str]]) -> list[str]:
    kept = [column for column in frame.columns if column not in RUN_METADATA]
    decoders = {column: names.get(kind, {}) for column, kind in ENCODED.items()}
    rows = []
    for record in frame[kept].to_dict("records"):
        for column, ids in decoders.items():
            if column in record:
                record[column] = [ids.get(code, code) for code in record[column].tolist()]
        rows.append(json.dumps(record, default=_plain, sort_keys=True))
    return sorted(rows)


def _text(value: Any) -> Any:
    """An array as a text; bytes of an array of objects would be those of pointers."""
    if not isinstance(value, np.ndarray):
        return value
    return repr(value.tolist()) if value.dtype == object else value.tobytes().hex()


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return str(value)
