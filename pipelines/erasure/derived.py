"""Ids that were derived from users: of their sessions and events, wherever a file still has both."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.erasure.needles import is_number

USER: Final = "user_id"
_DERIVED: Final = re.compile(r"(?:^|__)(?:session|event)_id$")


def derived_ids(folder: Path, users: Iterable[str]) -> set[str]:
    """Session and event ids of the users' rows in the Parquet files under a folder, old versions' too.

    A source's own event ids that are plain numbers are left out: they name too many other things.
    """
    wanted = pa.array(sorted(users), pa.string())
    found: set[str] = set()
    for path, names in user_files(folder):
        columns = [name for name in names if _DERIVED.search(name)]
        if columns:
            rows = pq.ParquetFile(path).read(columns=[USER, *columns])
            own = rows.filter(pc.is_in(rows.column(USER).cast(pa.string()), value_set=wanted))
            for column in columns:
                found.update(_plain(own.column(column)))
    return {one for one in found if not is_number(one)}


def user_files(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Parquet files of tables with a ``user_id``, and the names of their columns."""
    for path in sorted(folder.rglob("*.parquet")):
        if "_delta_log" in path.parts or path.name.startswith("."):
            continue
        try:
            names = pq.read_schema(path).names
        except (pa.ArrowInvalid, OSError):  # cut off by a died writer
            continue
        if USER in names:
            yield path, names


def _plain(column: pa.ChunkedArray) -> list[str]:
    if pa.types.is_list(column.type):
        column = pc.list_flatten(column)
    return [one for one in column.to_pylist() if isinstance(one, str)]
