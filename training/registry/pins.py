"""Whether the pinned versions of a warehouse's tables can still be read, file by file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow.fs as pafs
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from training.errors import DataError
from training.published import SEQUENCES, Publication, active_files, publication_of

READ: Final = (
    SEQUENCES,
    "silver/items",
    "silver/categories",
    "silver/event_types",
    "silver/themes",
    "silver/fits",
    "silver/sessions",
)
"""What a fit reads."""


def pinned_publication(path: str, version: int) -> Publication:
    """The publication that names a version of the sequence table; everything a fit reads of it is there.

    DataError that names what is gone. VACUUM leaves a version's log and statistics, so each file is
    looked for.
    """
    absolute = path if "://" in path else str(Path(path).absolute())
    _require_version(absolute, version)
    publication = publication_of(absolute, version)
    if publication is None:
        raise DataError(
            f"{path} version {version} is in no publication of its warehouse any more, so its splits and ids "
            "are not known; the model cannot be rebuilt"
        )
    for table in READ:
        _require_version(f"{publication.root}/{table}", publication.versions[table])
    return publication


def _require_version(path: str, version: int) -> None:
    try:
        files = active_files(DeltaTable(path, version=version))
    except DeltaError as error:
        raise _gone(path, version, str(error)) from error
    missing = _missing(files)
    if missing:
        raise _gone(
            path, version, f"{len(missing)} of its {len(files)} files are deleted, such as {missing[0]}"
        )


def _missing(files: Sequence[str]) -> list[str]:
    found = []
    for file in files:
        filesystem, place = pafs.FileSystem.from_uri(file)
        if filesystem.get_file_info(place).type == pafs.FileType.NotFound:
            found.append(file)
    return found


def _gone(path: str, version: int, reason: str) -> DataError:
    return DataError(
        f"{path} version {version}, which the model was fitted on, is gone ({reason}); it cannot be rebuilt. "
        "VACUUM, log clean-up or the erasure of a user removes old versions: train on a present one instead, "
        "or name the warehouse with --warehouse if it has moved"
    )
