"""Which versions of the warehouse's tables belong together: the pointer ``ops/published``.

Written by the pipeline, one row per published version; read here without it. A table read at a
version that no publication names has no declared shapes, so it cannot be trained on.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable

from features.spec import SequenceSpec
from training.errors import DataError

SEQUENCES: Final = "gold/user_sequences"
_POINTER: Final = "ops/published"
_HIVE: Final = ds.partitioning(flavor="hive")


@dataclass(frozen=True)
class Publication:
    """One published version of a warehouse: nothing at or after ``as_of`` is in it."""

    root: str
    number: int
    as_of: datetime  # UTC
    fit_id: str | None
    versions: dict[str, int]  # "layer/name" -> Delta version
    spec: SequenceSpec
    settings: dict[str, Any]  # of the pipeline's config, as far as they shape the tables

    def read(self, table: str, columns: list[str] | None = None) -> pa.Table:
        """The rows of a small table (vocabularies, fits) in this publication; DataError where it lacks it.

        Reads the version's own Parquet files: delta-rs cannot hand a partitioned table to pyarrow 14.
        """
        if table not in self.versions:
            raise DataError(
                f"{self.root}: publication {self.number} has no table {table}; it has "
                f"{', '.join(sorted(self.versions))}: rebuild with jobs/build_sequences.py"
            )
        delta = DeltaTable(f"{self.root}/{table}", version=self.versions[table])
        files = active_files(delta)
        if not files:
            raise DataError(f"{self.root}/{table} is empty at version {self.versions[table]}; rebuild it")
        return ds.dataset(files, format="parquet", partitioning=_HIVE).to_table(columns=columns)

    def fit_row(self) -> dict[str, Any]:
        """The row of ``silver/fits`` that belongs to this publication, ``train_end`` a UTC datetime."""
        rows: list[dict[str, Any]] = self.read("silver/fits").to_pylist()
        own = [row for row in rows if row["fit_id"] == self.fit_id]
        if len(own) != 1:
            raise DataError(
                f"{self.root}: silver/fits has {len(own)} rows for fit {self.fit_id} of publication "
                f"{self.number}, not one; publish again with --fit refit"
            )
        end: datetime = own[0]["train_end"]
        return own[0] | {"train_end": end if end.tzinfo else end.replace(tzinfo=UTC)}


def active_files(delta: DeltaTable) -> list[str]:
    """The version's Parquet files: URLs, or plain paths of a local table."""
    return [uri if "://" in uri else unquote(uri) for uri in delta.file_uris()]


def publications(root: str) -> list[Publication]:
    """Every publication of the warehouse at ``root``, oldest first; DataError where there is none."""
    path = f"{root}/{_POINTER}"
    if not DeltaTable.is_deltatable(path):
        raise DataError(
            f"{root}: no {_POINTER} table, so nothing is published here; "
            f"run jobs/build_sequences.py with --warehouse {root}"
        )
    rows = DeltaTable(path).to_pyarrow_table().to_pylist()
    return [
        Publication(
            root=root,
            number=row["number"],
            as_of=row["as_of"],
            fit_id=row["fit_id"],
            versions=dict(row["versions"]),
            spec=SequenceSpec.from_json(json.loads(row["spec"])),
            settings=json.loads(row["settings"]),
        )
        for row in sorted(rows, key=lambda row: int(row["number"]))
    ]


def latest(root: str) -> Publication:
    """The newest publication of the warehouse at ``root``."""
    return publications(root)[-1]


def publication_numbered(root: str, number: int) -> Publication:
    """The publication of the warehouse at ``root`` with this number."""
    (found,) = (one for one in publications(root) if one.number == number)
    return found


def publication_of(path: str, version: int) -> Publication | None:
    """The newest publication that names this version of the sequence table at ``path``, if any.

    ``path`` is ``WAREHOUSE/gold/user_sequences``; None for a table that lies elsewhere.
    """
    root = _warehouse(path)
    if root is None or not DeltaTable.is_deltatable(f"{root}/{_POINTER}"):
        return None
    naming = [found for found in publications(root) if found.versions.get(SEQUENCES) == version]
    return naming[-1] if naming else None


def _warehouse(path: str) -> str | None:
    if "://" in path:
        stem = path.rstrip("/")
        return stem.removesuffix("/" + SEQUENCES) if stem.endswith("/" + SEQUENCES) else None
    folder = Path(path).absolute()
    return str(folder.parents[1]) if folder.as_posix().endswith("/" + SEQUENCES) else None
