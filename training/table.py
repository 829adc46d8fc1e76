"""A pinned version of ``gold/user_sequences``: its files, their row counts and its shapes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from features.spec import SequenceSpec
from training.errors import DataError
from training.published import SEQUENCES, Publication, active_files, latest, publication_of

BUCKET: Final = "length_bucket"
"""The partition column: rows of one bucket have arrays of one length."""


@dataclass(frozen=True)
class SequenceFile:
    """One active Parquet file."""

    uri: str
    bucket: int
    rows: int  # from the log


@dataclass(frozen=True)
class SequenceTable:
    """A version of the sequence table, pinned: what is written later changes nothing here."""

    path: str
    version: int
    spec: SequenceSpec
    files: tuple[SequenceFile, ...]  # ascending by bucket, then uri
    publication: Publication | None = None
    id: str = ""  # Delta's own: the same wherever the table is mounted

    @property
    def rows(self) -> int:
        """Rows of the version, by the log."""
        return sum(file.rows for file in self.files)

    @property
    def buckets(self) -> tuple[int, ...]:
        """Length buckets that have files, ascending."""
        return tuple(sorted({file.bucket for file in self.files}))

    def in_bucket(self, bucket: int) -> tuple[SequenceFile, ...]:
        """The files of one bucket."""
        return tuple(file for file in self.files if file.bucket == bucket)


def open_published(root: str) -> SequenceTable:
    """The sequence table that the warehouse at ``root`` publishes now."""
    publication = latest(root)
    if SEQUENCES not in publication.versions:
        raise DataError(
            f"{root}: publication {publication.number} has no {SEQUENCES}; run jobs/build_sequences.py again"
        )
    return _open(f"{root}/{SEQUENCES}", publication.versions[SEQUENCES], publication.spec, publication)


def open_table(path: str, version: int | None = None, spec: SequenceSpec | None = None) -> SequenceTable:
    """The sequence table at ``path`` in a version (default: the newest one, pinned from now on).

    The pipeline declares the shapes in ``ops/published`` alone, so ``spec`` may be left out where a
    publication of the warehouse names this version. DataError where there is no such table or
    version, none declares its shapes, or its files do not say all: Petastorm reads Parquet files, so
    deletion vectors would bring deleted rows back and mapped columns would vanish.
    """
    pinned = _delta(path, version).version()
    publication = publication_of(path, pinned)
    declared = spec if publication is None else spec or publication.spec
    if declared is None:
        raise DataError(
            f"{path} version {pinned}: no publication in ops/published names it, so its shapes are not "
            "declared; open a published version, or pass the SequenceSpec it was built with"
        )
    return _open(path, pinned, declared, publication)


def _open(path: str, version: int, spec: SequenceSpec, publication: Publication | None) -> SequenceTable:
    delta = _delta(path, version)
    where = f"{path} version {version}"
    _refuse(delta, where)
    if delta.metadata().partition_columns != [BUCKET]:
        raise DataError(
            f"{where} is partitioned by {delta.metadata().partition_columns}, not by {BUCKET}; "
            "name the pipeline's gold/user_sequences"
        )
    columns = {field.name for field in delta.schema().fields}
    lacking = sorted(set(spec.array_columns()) - columns)
    if lacking:
        raise DataError(f"{where} lacks {', '.join(lacking)}, which its spec declares; rebuild it")
    actions = pa.table(delta.get_add_actions(flatten=True)).to_pylist()
    uris = {"/".join(uri.rsplit("/", 2)[1:]): uri for uri in active_files(delta)}
    files = [_file(action, path, uris, where) for action in actions]
    unknown = {file.bucket for file in files} - set(spec.buckets)
    if unknown:
        raise DataError(f"{where} has length buckets {sorted(unknown)}, but its spec has {spec.buckets}")
    ordered = sorted(files, key=lambda file: (file.bucket, file.uri))
    return SequenceTable(path, version, spec, tuple(ordered), publication, str(delta.metadata().id))


def _delta(path: str, version: int | None) -> DeltaTable:
    where = path if "://" in path else str(Path(path).absolute())
    try:
        return DeltaTable(where, version=version)
    except DeltaError as error:
        at = "" if version is None else f" at version {version}"
        raise DataError(
            f"{path}: no Delta table can be opened here{at} ({error}); "
            "check the path, and that VACUUM or log clean-up has not removed the version"
        ) from error


def _refuse(delta: DeltaTable, where: str) -> None:
    """Raise DataError for what Parquet files alone do not tell."""
    properties = delta.metadata().configuration
    if properties.get("delta.columnMapping.mode", "none") != "none":
        raise DataError(
            f"{where} maps column names (delta.columnMapping.mode = "
            f"{properties['delta.columnMapping.mode']}), which a reader of its Parquet files cannot see; "
            "copy it into a table without column mapping"
        )
    vectors = "deletionVectors" in (delta.protocol().reader_features or [])
    if vectors and (
        properties.get("delta.enableDeletionVectors") == "true" or pa.table(delta.deletion_vectors()).num_rows
    ):
        raise DataError(
            f"{where} has deletion vectors, so its Parquet files still hold deleted rows; set "
            "delta.enableDeletionVectors = false and run REORG TABLE … APPLY (PURGE), then pin that version"
        )


def _file(action: dict[str, Any], path: str, uris: dict[str, str], where: str) -> SequenceFile:
    name = unquote(action["path"])
    uri = uris.get(name)
    bucket, rows = action.get(f"partition.{BUCKET}"), action["num_records"]
    if uri is None or bucket is None:
        raise DataError(f"{where}: {name} is not a file of one {BUCKET} under {path}; rebuild the table")
    if rows is None:
        raise DataError(
            f"{where}: the log has no row count for {name}, so losses could not be noticed; "
            "write the table with statistics (delta.dataSkippingNumIndexedCols other than 0)"
        )
    return SequenceFile(uri, int(bucket), int(rows))
