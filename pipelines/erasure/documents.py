"""What documents hold of ids: JSON, HTML and other text, CSV, compressed ones, SQLite, any other bytes."""

import bz2
import csv
import gzip
import html
import io
import json
import sqlite3
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from pipelines.erasure.needles import NAMES_USERS, Mode, Needles, column_mode, key_mode

Found = dict[str, set[str]]
"""Place inside a file -> ids."""

SHORTEST_IN_BYTES: Final = 6
"""Shorter ids stand in megabytes of weights by chance."""

CHECKSUM: Final = b"crc\0"
"""Hadoop's checksum file beside a file."""


def search_text(text: str, needles: Needles) -> Found:
    """Ids in a text; one that is JSON, or has a JSON value in each line, is read as such."""
    if text.lstrip()[:1] in ("{", "["):
        with suppress(ValueError):
            return search_json(text, needles)
        lines = text.splitlines()
        found: Found = defaultdict(set)
        for line in lines:
            try:
                parts = search_json(line, needles)
            except ValueError:
                parts = _plain(line, needles)
            for place, ids in parts.items():
                found[place] |= ids
        return found
    return _plain(text, needles)


def search_json(text: str, needles: Needles) -> Found:
    """Ids in the strings and keys of a JSON value, JSON inside its strings too; ValueError for other text."""
    found: Found = defaultdict(set)
    for path, value in _strings(json.loads(text), ()):
        mode = key_mode(path)
        inner = None
        if value[:1] in ("{", "["):
            with suppress(ValueError):
                inner = search_json(value, needles)
        for place, ids in (inner or _plain(value, needles, mode)).items():
            found[".".join((*path, *([place] if inner else []))) or "text"] |= ids
    return found


def search_csv(text: str, needles: Needles, delimiter: str) -> Found:
    """Ids in the fields of a text whose first line may name its columns."""
    found: Found = defaultdict(set)
    names: list[str] = []
    for number, fields in enumerate(csv.reader(io.StringIO(text), delimiter=delimiter)):
        if number == 0:
            names = fields
        for place, field in enumerate(fields):
            name = names[place] if place < len(names) else ""
            for ids in _plain(field, needles, column_mode((name,))).values():
                found[f"column {name}"] |= ids
    return found


def search_sqlite(path: Path, needles: Needles) -> Found:
    """Ids in the rows of every table, and in what deleted rows left in the file."""
    found: Found = defaultdict(set, search_bytes(path.read_bytes(), needles))
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        database.text_factory = lambda data: data.decode("utf-8", "replace")
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            rows = database.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in rows.description]
            for row in rows:
                for name, value in zip(names, row, strict=True):
                    for ids in _cell(name, value, needles):
                        found[f"table {table}, column {name}"] |= ids
    return found


def zip_members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each member of a zip archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            yield name, archive.read(name)


def search_bytes(data: bytes, needles: Needles) -> Found:
    """Ids of some length that stand in bytes of no known form, whatever touches them: lengths often do."""
    if data.startswith(CHECKSUM):
        return {}
    ids = {one for one in needles.words if len(one) >= SHORTEST_IN_BYTES and one.encode() in data}
    return {"bytes": ids} if ids else {}


def decompressed(data: bytes) -> bytes | None:
    """What a gzip or bzip2 file holds; None where the bytes are neither."""
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    return bz2.decompress(data) if data.startswith(b"BZh") else None


def _plain(text: str, needles: Needles, mode: Mode = Mode.TEXT) -> Found:
    variants = {text}
    if "&" in text:
        variants.add(html.unescape(text))
    if "%" in text:
        variants.add(unquote(text))
    ids = {one for variant in variants for one in needles.find(variant, mode)}
    return {"text": ids} if ids else {}


def _strings(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """The strings of a JSON value with the keys on the way; keys too, and numbers under a user's key."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield ("key",), key
            yield from _strings(inner, (*path, key))
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, path)
    elif isinstance(value, str):
        yield path, value
    elif isinstance(value, int) and not isinstance(value, bool) and path and path[-1].lower() in NAMES_USERS:
        yield path, str(value)


def _cell(name: str, value: Any, needles: Needles) -> Iterator[set[str]]:
    mode = key_mode((name,))
    if isinstance(value, int) and mode is Mode.USER:
        value = str(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        yield from (
            _plain(value, needles, mode) if mode is not Mode.TEXT else search_text(value, needles)
        ).values()
