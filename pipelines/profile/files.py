"""Find the files of an unknown log and tell their format from their first bytes."""

import gzip
import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from pipelines.delta_files import data_files
from pipelines.errors import SourceError

FORMATS: Final = ("csv", "jsonl", "parquet", "delta")
GZIP: Final = b"\x1f\x8b"
_REFUSED: Final = {
    b"PK\x03\x04": "a zip archive; unpack it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it or use gzip",
    b"BZh": "compressed with bzip2; unpack it or use gzip",
    b"\xfd7zXZ": "compressed with xz; unpack it or use gzip",
    b"ORC": "an ORC file; convert it to Parquet",
    b"Obj\x01": "an Avro file; convert it to Parquet",
    b"\xff\xfe": "UTF-16 text; convert it to UTF-8",
    b"\xfe\xff": "UTF-16 text; convert it to UTF-8",
}
DAMAGED: Final = (EOFError, gzip.BadGzipFile, zlib.error)


@dataclass(frozen=True)
class Found:
    """The data files of a source, in name order, their format, and what a person should know."""

    root: Path
    format: str
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def find_files(path: str | Path, kind: str | None = None) -> Found:
    """The files behind ``path``: one file, a folder of them or a Delta table.

    Raises SourceError where nothing is there, nothing is in it, or the bytes are of no known format.
    """
    root = Path(str(path).removeprefix("file://"))
    if "://" in str(root) or ":/" in str(root)[:8]:
        raise SourceError(f"{path}: only local paths can be profiled; copy a few of its files here first")
    if kind is not None and kind not in FORMATS:
        raise SourceError(f"{path}: format {kind!r} is unknown; use one of {', '.join(FORMATS)}")
    if not root.exists():
        raise SourceError(f"{path}: no such file or folder; check --source")
    if kind == "delta" or (kind is None and (root / "_delta_log").is_dir()):
        return _find_delta(root)
    files = [root] if root.is_file() else sorted(file for file in root.rglob("*") if _is_data(file, root))
    filled = [file for file in files if _size(file) > 0]
    if not filled:
        what = "the file is empty" if root.is_file() else "the folder holds no data files"
        raise SourceError(f"{path}: {what}")
    notes = [f"{len(files) - len(filled)} empty files are left out"] if len(filled) < len(files) else []
    if kind is None:
        kinds = {file: tell_format(file) for file in (filled if len(filled) <= 50 else filled[:50])}
        kind = kinds[filled[0]]
        others = sorted(set(kinds.values()) - {kind})
        if others:
            notes.append(f"the folder also holds {', '.join(others)}; only its {kind} files are profiled")
            filled = [file for file in filled if kinds.get(file, kind) == kind]
    misnamed = [file.name for file in filled[:50] if file.suffix != ".gz" and _starts_with(file, GZIP)]
    if misnamed:
        notes.append(f"{misnamed[0]} is gzip, which the job sees by its name only: rename it to end in .gz")
    return Found(root, kind, tuple(filled), tuple(notes))


def tell_format(file: Path) -> str:
    """``parquet``, ``jsonl`` or ``csv``, told from the first bytes (unpacked where gzip)."""
    start = head(file)
    if start.startswith(b"PAR1"):
        return "parquet"
    for magic, what in _REFUSED.items():
        if start.startswith(magic):
            raise SourceError(f"{file}: {what}")
    if b"\x00" in start:
        raise SourceError(f"{file}: binary data, neither text (csv, jsonl) nor Parquet")
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if file.name.removesuffix(".gz").endswith(".parquet"):
        raise SourceError(f"{file}: named as Parquet but not a Parquet file (no PAR1 at its start)")
    if text.startswith(b"["):
        raise SourceError(f"{file}: a JSON array; write one object per line (jsonl)")
    return "jsonl" if text.startswith(b"{") else "csv"


def head(file: Path, size: int = 65_536) -> bytes:
    """The first bytes of a file, unpacked where it is gzip."""
    try:
        with open_bytes(file) as stream:
            return stream.read(size)
    except DAMAGED as error:
        raise SourceError(f"{file}: the gzip stream is damaged ({error}); fetch the file again") from None
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror}") from None


def open_bytes(file: Path) -> gzip.GzipFile | io.BufferedReader:
    """The file as bytes, unpacked where it is gzip, whatever its name."""
    raw = file.open("rb")
    packed = raw.read(2) == GZIP
    raw.seek(0)
    return gzip.GzipFile(fileobj=raw, mode="rb") if packed else raw


def open_text(file: Path) -> io.TextIOWrapper:
    """The file as text; bytes that are not UTF-8 become U+FFFD, a byte order mark is dropped."""
    return io.TextIOWrapper(open_bytes(file), encoding="utf-8-sig", errors="replace", newline="")


def _find_delta(root: Path) -> Found:
    try:
        table = DeltaTable(str(root))
        files = data_files(table, str(root))
        deleted = table.deletion_vectors().read_all().num_rows
    except (DeltaError, OSError, ValueError) as error:
        raise SourceError(f"{root}: cannot be read as a Delta table: {str(error).splitlines()[0]}") from None
    if not files:
        raise SourceError(f"{root}: the Delta table is empty")
    notes = (f"deleted rows of {deleted} files (deletion vectors) are still counted here",) if deleted else ()
    return Found(root, "delta", tuple(Path(file) for file in sorted(files)), notes)


def _is_data(file: Path, root: Path) -> bool:
    parts = file.relative_to(root).parts
    return file.is_file() and not any(part.startswith((".", "_")) for part in parts)


def _starts_with(file: Path, magic: bytes) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(magic)) == magic


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror}") from None
