"""Which versions of the tables are kept: published ones, and those that registered models name."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from deltalake import DeltaTable

from pipelines.old_versions import files_of, live_files
from pipelines.pointer import TABLE
from pipelines.registered import Registered

Kept = Mapping[str, set[int]]
"""Table -> versions that must stay readable."""

_COLUMNS: Final = ["number", "published_at", "versions"]


def kept_versions(root: str, models: Iterable[Registered] | None, since: datetime) -> Kept:
    """The versions of publications that were the newest one at or after ``since``, and those of models.

    ``models`` is None where no registry is known: then every publication is kept, since a model may name it.
    """
    kept: dict[str, set[int]] = defaultdict(set)
    publications = _publications(root)
    for place, publication in enumerate(publications):
        is_last = place + 1 == len(publications)
        if models is None or is_last or publications[place + 1]["published_at"] > since:
            for table, version in publication["versions"]:
                kept[table].add(version)
    for model in models or ():
        for table, version in model.versions.items():
            kept[table].add(version)
    return kept


def kept_files(table: Path, versions: Iterable[int]) -> tuple[set[Path], list[int]]:
    """The files that the versions and the newest one need, and the versions whose log is gone."""
    files = live_files(table)
    gone = []
    for version in sorted(versions):
        own = files_of(table, version)
        if own is None:
            gone.append(version)
        else:
            files |= own
    return files, gone


def _publications(root: str) -> list[dict[str, Any]]:
    """Oldest first."""
    path = f"{root}/{TABLE}"
    if not DeltaTable.is_deltatable(path):
        return []
    rows: list[dict[str, Any]] = DeltaTable(path).to_pyarrow_table(columns=_COLUMNS).to_pylist()
    return sorted(rows, key=lambda row: int(row["number"]))
