"""How many files a table has and how large they are, and what upkeep would make of them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pipelines.maintenance.keep import Kept, kept_files
from pipelines.old_versions import LOG, Files, delta_tables, live_files, old_log, unneeded

MB: Final = 1_000_000


@dataclass(frozen=True)
class TableSize:
    """A table as found."""

    files: int  # of the newest version
    bytes: int
    small_files: int  # that compaction would put together
    stored_files: int  # of all versions
    stored_bytes: int
    log_bytes: int
    removable_files: int  # that no kept version needs
    removable_bytes: int


@dataclass(frozen=True)
class Removable:
    """What no kept version of a table needs, and the kept versions that are gone already."""

    data: Files
    log: Files
    gone: list[int]


def removable(table: Path, versions: Iterable[int], before: float) -> Removable:
    """Files and log entries of a table that none of the versions needs, nor the newest one.

    ``before`` is in unix seconds: a file that was changed later stays.
    """
    wanted = set(versions)
    files, gone = kept_files(table, wanted)
    alive = sorted(wanted - set(gone))
    log = old_log(table, alive[0]) if alive else Files(())
    return Removable(unneeded(table, files, before), log, gone)


def measure(folder: Path, kept: Kept, before: float, file_bytes: int) -> dict[str, TableSize]:
    """The size of every table under a warehouse's folder."""
    found = {}
    for name in delta_tables(folder):
        table = folder / name
        files = sorted(file for file in live_files(table) if file.exists())
        stored = [path for path in table.rglob("*") if path.is_file()]
        data = [path for path in stored if LOG not in path.relative_to(table).parts]
        old = removable(table, kept.get(name, ()), before)
        found[name] = TableSize(
            files=len(files),
            bytes=_bytes(files),
            small_files=sum(len(group) for group in small_files(files, file_bytes)),
            stored_files=len(data),
            stored_bytes=_bytes(data),
            log_bytes=_bytes(stored) - _bytes(data),
            removable_files=len(old.data.paths),
            removable_bytes=old.data.size + old.log.size,
        )
    return found


def small_files(files: Iterable[Path], file_bytes: int) -> list[list[Path]]:
    """Files below half of ``file_bytes``, by partition, where a partition has several of them."""
    by_partition: dict[Path, list[Path]] = defaultdict(list)
    for file in files:
        if file.stat().st_size < file_bytes // 2:
            by_partition[file.parent].append(file)
    return [group for group in by_partition.values() if len(group) > 1]


def render(before: Mapping[str, TableSize], after: Mapping[str, TableSize] | None = None) -> str:
    """The sizes as a table for people; with those after the work beside them, where given."""
    head = ["table", "files", "MB", "small", "stored", "MB", "log MB", "removable", "MB"]
    if after is not None:
        head += ["files then", "MB", "stored then", "MB", "log MB"]
    rows = [head]
    for name, size in before.items():
        row = [name, *_cells(size), *_old_cells(size)]
        if after is not None and name in after:
            then = _cells(after[name])
            row += [*then[:2], *then[3:]]
        rows.append(row)
    widths = [max(len(row[place]) for row in rows if place < len(row)) for place in range(len(head))]
    lines = []
    for row in rows:
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=False))
        lines.append("  ".join([row[0].ljust(len(first)), *others]))
    return "\n".join(lines)


def plain(sizes: Mapping[str, TableSize]) -> dict[str, Any]:
    """As plain values, for the summary."""
    return {name: asdict(size) for name, size in sizes.items()}


def _cells(size: TableSize) -> list[str]:
    return [
        f"{size.files:,}",
        _mb(size.bytes),
        f"{size.small_files:,}",
        f"{size.stored_files:,}",
        _mb(size.stored_bytes),
        _mb(size.log_bytes),
    ]


def _old_cells(size: TableSize) -> list[str]:
    return [f"{size.removable_files:,}", _mb(size.removable_bytes)]


def _mb(size: int) -> str:
    return f"{size / MB:,.2f}"


def _bytes(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files)
