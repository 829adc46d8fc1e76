"""Where the Parquet files of a Delta table lie."""

from typing import Final
from urllib.parse import unquote

import pyarrow.dataset as ds
from deltalake import DeltaTable

HIVE: Final = ds.partitioning(flavor="hive")


def data_files(delta: DeltaTable, folder: str) -> list[str]:
    """The files of a table's version, in ``folder`` as the caller names it, so that names can be compared.

    ``DeltaTable.file_uris`` resolves links and relative folders, and quotes what a folder's name has of
    spaces and the like.
    """
    root = folder.removeprefix("file://").rstrip("/")
    names = delta.get_add_actions().column("path").to_pylist()
    return [name if "://" in name else f"{root}/{unquote(name)}" for name in names]


def dataset(files: list[str], folder: str) -> ds.Dataset:
    """Files of a table at ``folder`` and their partition columns: a folder above it adds none."""
    base = folder.removeprefix("file://")
    return ds.dataset(files, format="parquet", partitioning=HIVE, partition_base_dir=base)
