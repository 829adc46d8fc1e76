"""Texts that name erased users, put without them: rows of the ops tables, and documents beside the tables."""

import gzip
import html
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake

from features.page.shell import MARK
from pipelines.erasure.needles import Mode, Needles, key_mode
from pipelines.erasure.scan import LOG, files_under, search_file
from pipelines.old_versions import delta_tables
from pipelines.pointer import CONFIGURATION
from pipelines.warehouse import STATISTICS

_HEAD: Final = 500
INSTEAD: Final = "[erased]"
_OURS: Final = ("_lock", "_lock.guard", "_erasure_key")


def scrub(text: str, needles: Needles, mode: Mode = Mode.TEXT) -> str:
    """The text with ``[erased]`` in place of each id; JSON stays JSON.

    >>> scrub('{"error": "user u7 twice", "rows": 2}', Needles(["u7"]))
    '{"error": "user [erased] twice", "rows": 2}'
    """
    if text[:1] in ("{", "["):
        try:
            value = json.loads(text)
        except ValueError:
            return _plain(text, needles, mode)
        clean = _value(value, needles, mode)
        return text if clean == value else json.dumps(clean)
    return _plain(text, needles, mode)


def scrub_ops(folder: Path, needles: Needles, run_id: str) -> dict[str, int]:
    """Scrub the texts of every table under ``ops``; table -> rows that were changed."""
    changed = {}
    for name in delta_tables(folder):
        if not name.startswith("ops/"):
            continue
        path = str(folder / name)
        table = DeltaTable(path).to_pyarrow_table()
        rows = table.to_pylist()
        clean = [{key: _cell(key, value, needles) for key, value in row.items()} for row in rows]
        count = sum(old != new for old, new in zip(rows, clean, strict=True))
        if count:
            _rewrite(path, pa.Table.from_pylist(clean, schema=table.schema), run_id)
            changed[name] = count
    return changed


def scrub_documents(folder: Path, needles: Needles) -> list[str]:
    """Scrub text files under a warehouse that belong to no table; the paths of those changed."""
    changed = []
    for path in documents(folder):
        if not search_file(path, needles):
            continue
        data = path.read_bytes()
        packed = data.startswith(b"\x1f\x8b")
        plain = gzip.decompress(data) if packed else data
        if b"\0" in plain:
            continue  # not a text; the proof names it
        clean = _lines(plain.decode("utf-8", "replace"), needles).encode()
        if clean != plain:
            _replace(path, gzip.compress(clean) if packed else clean)
            changed.append(str(path.relative_to(folder)))
    return changed


def remove_reports(folder: Path) -> list[str]:
    """Remove the reports under a warehouse; their paths.

    They show histories of single users: without the id a history would still be one. A new report is
    written from the tables by the next build, or by ``python -m pipelines.report``.
    """
    reports = [path for path in documents(folder) if path.suffix == ".html" and _is_report(path)]
    for path in reports:
        path.unlink()
    return [str(path.relative_to(folder)) for path in reports]


def _is_report(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return MARK in file.read(_HEAD)


def documents(folder: Path) -> Iterator[Path]:
    """Files of a warehouse that belong to no table."""
    tables = [folder / name for name in delta_tables(folder)]
    for path in files_under(folder):
        if (
            LOG not in path.parts
            and path.name not in _OURS
            and not any(path.is_relative_to(t) for t in tables)
        ):
            yield path


def _lines(text: str, needles: Needles) -> str:
    """A document as a whole where it is JSON, else line by line, so that JSON lines stay such."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            json.loads(text)
            return scrub(text, needles)
        except ValueError:
            pass
    return "".join(scrub(line, needles) for line in text.splitlines(keepends=True))


def _plain(text: str, needles: Needles, mode: Mode) -> str:
    if text in needles.wanted(mode):
        return INSTEAD
    if mode is Mode.USER:
        return text
    for one in needles.ids:
        escaped = html.escape(one)
        if escaped != one and escaped in text:
            text = text.replace(escaped, INSTEAD)
    parts, end = [], 0
    for span in sorted(needles.spans(text, mode)):
        if span.start >= end:
            parts += [text[end : span.start], INSTEAD]
        end = max(end, span.end)
    return "".join([*parts, text[end:]])


def _value(value: Any, needles: Needles, mode: Mode, key: str = "") -> Any:
    own = key_mode((key,)) if key_mode((key,)) is not Mode.TEXT else mode
    if isinstance(value, dict):
        return {
            _plain(name, needles, mode): _value(inner, needles, own, name) for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_value(inner, needles, own) for inner in value]
    if isinstance(value, str):
        return scrub(value, needles, own)
    if isinstance(value, int) and own is Mode.USER and str(value) in needles.ids:
        return INSTEAD
    return value


def _cell(column: str, value: Any, needles: Needles) -> Any:
    if isinstance(value, list):
        return [_cell(column, inner, needles) for inner in value]
    return scrub(value, needles, key_mode((column,))) if isinstance(value, str) else value


def _rewrite(path: str, rows: pa.Table, run_id: str) -> None:
    """All rows anew; a table that kept statistics of its texts stops that."""
    delta = DeltaTable(path)
    if STATISTICS not in delta.metadata().configuration:
        number = CONFIGURATION[STATISTICS] if "number" in rows.column_names else ""
        delta.alter.set_table_properties({STATISTICS: number})
    commit = CommitProperties(custom_metadata={"userMetadata": run_id})
    write_deltalake(path, rows, mode="overwrite", commit_properties=commit)


def _replace(path: Path, data: bytes) -> None:
    """The file's new content in one rename."""
    handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=".")
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    Path(fresh).chmod(path.stat().st_mode & 0o777)
    Path(fresh).replace(path)
