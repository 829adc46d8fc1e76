"""Files that no kept version of a table needs, and log entries older than all of them: found and removed.

Delta's own VACUUM goes by age and knows nothing of versions that a publication or a model names. Works on
local folders, under the warehouse's lock.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from pipelines.delta_files import data_files
from pipelines.errors import WarehouseError

LOG: Final = "_delta_log"
_VERSIONED: Final = re.compile(r"\.?(\d{20})\.")


@dataclass(frozen=True)
class Files:
    """Some files of a table."""

    paths: tuple[Path, ...]

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return sum(path.stat().st_size for path in self.paths)


def delta_tables(folder: Path) -> Iterator[str]:
    """Names ``layer/name`` of the Delta tables under a warehouse's folder."""
    for log in sorted(folder.glob(f"*/*/{LOG}")):
        name = f"{log.parent.parent.name}/{log.parent.name}"
        if DeltaTable.is_deltatable(str(log.parent)):
            yield name


def live_files(table: Path) -> set[Path]:
    """The files that the newest version needs, there or not; WarehouseError where its log cannot be read."""
    return _files(table, None)


def files_of(table: Path, version: int) -> set[Path] | None:
    """The files that a version needs, there or not; None where its log is gone.

    WarehouseError where the log is there and cannot be read: what it needs is not known then.
    """
    return _files(table, version) if _has_entry(table, version) else None


def _files(table: Path, version: int | None) -> set[Path]:
    try:
        delta = DeltaTable(str(table), version=version)
    except DeltaError as error:
        which = "the newest version" if version is None else f"version {version}"
        raise WarehouseError(
            f"{table}: {which} cannot be read ({str(error).splitlines()[0]}), so nothing is removed; "
            f"mend {table / LOG} first"
        ) from None
    return {Path(file) for file in data_files(delta, str(table))}


def unneeded(table: Path, kept: Iterable[Path], before: float | None = None) -> Files:
    """Files of a table that are not among ``kept``, changed before a time in unix seconds (default: any).

    A checksum file beside one goes with it. WarehouseError where files are kept and none of them is met.
    """
    needed = set(kept)
    found, met = [], not needed
    for path in sorted(table.rglob("*")):
        data = path.with_name(path.name.removeprefix(".").removesuffix(".crc"))
        if not path.is_file() or LOG in path.relative_to(table).parts:
            continue
        if {path, data} & needed:
            met = True
        elif before is None or path.stat().st_mtime < before:
            found.append(path)
    if not met:
        raise WarehouseError(
            f"{table}: none of its {len(needed):,} files is there, so nothing is removed; restore the table"
        )
    return Files(tuple(found))


def remove(files: Files) -> None:
    """Delete files; one that is gone already is no fault."""
    for path in files.paths:
        path.unlink(missing_ok=True)


def old_log(table: Path, oldest: int) -> Files:
    """Log entries that no version from ``oldest`` on needs: those before the last checkpoint up to it."""
    entries = {
        path: int(match[1]) for path in (table / LOG).iterdir() if (match := _VERSIONED.match(path.name))
    }
    checkpoints = [
        version
        for path, version in entries.items()
        if ".checkpoint." in path.name and not path.name.startswith(".") and version <= oldest
    ]
    first = max(checkpoints, default=0)
    return Files(tuple(sorted(path for path, version in entries.items() if version < first)))


def forget_old_versions(table: Path) -> int:
    """Keep the newest version alone; files removed. Time travel to older ones fails from then on.

    Safe to repeat and to be cut off: a checkpoint stands before the first log entry goes.
    """
    delta = DeltaTable(str(table))
    old = unneeded(table, live_files(table))
    remove(old)
    newest = delta.version()
    if old_log(table, newest).paths or not _has_checkpoint(table, newest):
        delta.create_checkpoint()
    entries = old_log(table, newest)
    remove(entries)
    return len(old.paths) + len(entries.paths)


def _has_entry(table: Path, version: int) -> bool:
    return (table / LOG / f"{version:020d}.json").exists() or _has_checkpoint(table, version)


def _has_checkpoint(table: Path, version: int) -> bool:
    return any((table / LOG).glob(f"{version:020d}.checkpoint*.parquet"))
