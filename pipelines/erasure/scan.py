"""The proof: where under a folder ids of users stand, in whatever form.

Every column of every Parquet file is decoded, with its footer; Delta logs, checkpoints and checksums, JSON,
HTML and other documents, compressed ones, and SQLite files are read. A scan of raw bytes would find nothing
in compressed Parquet.

    python -m pipelines.erasure.scan FOLDER --users FILE

prints the places and, last, one JSON object; exit status 0: nothing found, 1: something.
"""

import argparse
import io
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import pyarrow as pa

from pipelines.erasure.derived import derived_ids
from pipelines.erasure.documents import (
    Found,
    decompressed,
    search_bytes,
    search_csv,
    search_sqlite,
    search_text,
    zip_members,
)
from pipelines.erasure.needles import Needles
from pipelines.erasure.parquet import search_parquet

_DELIMITERS: Final = {".csv": ",", ".tsv": "\t"}
_HEAD: Final = 8192
LOG: Final = "_delta_log"


@dataclass(frozen=True)
class Place:
    """Something inside a file that holds ids."""

    path: str  # relative to the folder
    where: str
    ids: frozenset[str]

    def __str__(self) -> str:
        """Without the ids themselves."""
        return f"{self.path}: {self.where} ({len(self.ids)} id{'s' if len(self.ids) != 1 else ''})"


def scan(folder: Path, needles: Needles) -> Iterator[Place]:
    """The places under a folder that hold one of the ids, file by file in order of their paths."""
    if not needles.ids:
        return
    for path in files_under(folder):
        name = str(path.relative_to(folder))
        named = needles.find(unquote(name))
        if named:
            yield Place("(a path)", "name of a file", frozenset(named))
        for where, ids in search_file(path, needles).items():
            yield Place("(a path)" if named else name, where, frozenset(ids))


def files_under(folder: Path) -> Iterator[Path]:
    """Every file, hidden ones too, in order."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file():
                yield path


def search_file(path: Path, needles: Needles) -> Found:
    """Place inside a file -> ids; a file that vanishes meanwhile holds none."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        if head.startswith(b"SQLite format 3\0"):
            return search_sqlite(path, needles)
        if head.startswith(b"PAR1"):
            with path.open("rb") as file:
                return search_parquet(file, needles, LOG in path.parts)
        return search_data(path.name, path.read_bytes(), needles)
    except FileNotFoundError:
        return {}
    except (pa.ArrowInvalid, OSError, EOFError):  # cut off or of another form: its bytes at least
        return search_bytes(path.read_bytes(), needles)


def search_data(name: str, data: bytes, needles: Needles) -> Found:
    """The same for bytes that are in memory, of a file of this name."""
    inner = decompressed(data)
    if inner is not None:
        return search_data(name.removesuffix(".gz").removesuffix(".bz2"), inner, needles)
    if data.startswith(b"PAR1"):
        return search_parquet(io.BytesIO(data), needles, is_log=False)
    if data.startswith(b"PK\x03\x04"):
        found: Found = defaultdict(set)
        for member, content in zip_members(data):
            for where, ids in search_data(member, content, needles).items():
                found[f"{member}: {where}"] |= ids
        return found
    if b"\0" in data[:_HEAD]:
        return search_bytes(data, needles)
    text = data.decode("utf-8", "replace")
    delimiter = _DELIMITERS.get(Path(name).suffix)
    return search_csv(text, needles, delimiter) if delimiter else search_text(text, needles)


def read_ids(file: Path) -> list[str]:
    """Ids of a file that has one a line; blank lines and repeats are left out."""
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return list(dict.fromkeys(line for line in lines if line))


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.erasure.scan", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="such as a warehouse")
    parser.add_argument("--users", type=Path, required=True, metavar="FILE", help="user ids, one a line")
    given = parser.parse_args(arguments)
    for path in (given.folder, given.users):
        if not path.exists():
            parser.error(f"{path}: no such file or folder")
    users = read_ids(given.users)
    places = list(scan(given.folder, Needles([*users, *derived_ids(given.folder, users)])))
    for place in places:
        print(place)  # noqa: T201
    found = {one for place in places for one in place.ids} & set(users)
    told = {"users": len(users), "users_found": len(found), "places": len(places)}
    print(json.dumps(told), flush=True)  # noqa: T201
    return int(bool(places))


if __name__ == "__main__":
    sys.exit(main())
