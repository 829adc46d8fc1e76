"""Publishing: a run's tables become visible in one commit, and a died run's commits are undone.

The pointer covers every table of bronze, silver and gold. ``ops`` is never restored: it is the
record of what happened.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import deltalake
from pyspark.sql import DataFrame

from pipelines.errors import SeqloomError, WarehouseError
from pipelines.lock import Lock
from pipelines.pointer import Published, move_pointer, published, require_published
from pipelines.warehouse import Warehouse

COVERED_LAYERS: Final = ("bronze", "silver", "gold")


def publish(
    warehouse: Warehouse,
    new: Published,
    expected: Published | None,
    layers: Sequence[str] = COVERED_LAYERS,
) -> Published:
    """Make the run's tables the published ones; the pointer with its number.

    ``expected`` is the pointer that the run restored to and built upon; tables outside of ``layers`` stay at
    its versions, whatever else lies in the warehouse. Raises SeqloomError, with
    nothing published, where the pointer has moved, a commit since is not of ``warehouse.run_id``, or
    ``new.versions`` is not what lies in the warehouse.
    """
    if new.run_id != warehouse.run_id:
        raise ValueError(f"run {warehouse.run_id!r} cannot publish for run {new.run_id!r}")
    found = table_versions(warehouse, layers)
    own = {table: version for table, version in new.versions.items() if table.split("/")[0] in layers}
    if found != own:
        differing = sorted(dict(found.items() ^ own.items()))
        raise SeqloomError(
            f"{warehouse.root}: {', '.join(differing)} changed after the run read its versions; "
            "nothing was published: start it again"
        )
    for table in own:
        since = None if expected is None else expected.versions.get(table)
        for version, owner in _commits_since(warehouse, table, since):
            if owner != warehouse.run_id:
                raise SeqloomError(
                    f"{warehouse.path(table)}: version {version} was written by "
                    f"{owner or 'an unnamed writer'}, not by this run; "
                    "nothing was published: end that writer and start the run again"
                )
    return move_pointer(warehouse.root, new, expected)


def restore(
    warehouse: Warehouse,
    pointer: Published | None,
    layers: Sequence[str] = COVERED_LAYERS,
    *,
    lock: Lock | None = None,
) -> list[str]:
    """Undo what lies beyond the pointer in ``layers``; one line for each table that was put back or removed.

    A table that the pointer does not know is removed with its files. Safe to repeat. Raises LockedError
    before a change where ``lock`` was lost: what lies there is then another run's.
    """
    done = []
    for table in list(_tables(warehouse, layers)):
        version = None if pointer is None else pointer.versions.get(table)
        if lock is not None:
            lock.require_held()
        if version is None:
            _delete(warehouse, table)
            done.append(f"{table}: removed, left by a run that did not publish")
        elif next(_commits_since(warehouse, table, version), None):
            warehouse.restore(table, version)
            done.append(f"{table}: put back to version {version}")
    if pointer is not None:
        named = {table for table in pointer.versions if table.split("/")[0] in layers}
        missing = sorted(named - set(_tables(warehouse, layers)))
        if missing:
            raise WarehouseError(
                f"{warehouse.root}: {', '.join(missing)} of publication {pointer.number} is gone; "
                "bring the folder back from a backup, or build anew into another --warehouse"
            )
    return done


def table_versions(warehouse: Warehouse, layers: Sequence[str] = COVERED_LAYERS) -> dict[str, int]:
    """The newest version of every table of ``layers``: what a run is about to publish."""
    return {table: _log(warehouse, table).version() for table in _tables(warehouse, layers)}


def read_published(warehouse: Warehouse, table: str, pointer: Published | None = None) -> DataFrame:
    """The rows of a table in the published version (``pointer``'s, where given).

    Raises WarehouseError where nothing is published, or not this table.
    """
    pointer = pointer or require_published(warehouse.root)
    if table not in pointer.versions:
        known = ", ".join(sorted(pointer.versions))
        raise WarehouseError(f"{warehouse.root}: table {table} is not published; published are: {known}")
    return warehouse.read(table, pointer.versions[table])


def _commits_since(warehouse: Warehouse, table: str, version: int | None) -> Iterator[tuple[int, str | None]]:
    """Version and writer of the commits that changed a table since ``version``, newest first.

    A RESTORE to that very version ends the walk: beyond it nothing of what it undid is left.
    """
    log = _log(warehouse, table)
    since = None if version is None else log.version() - version
    if since == 0:
        return
    for commit in log.history(since):
        back = commit["operation"] == "RESTORE" and commit["operationParameters"].get("version")
        if version is not None and str(back) == str(version):
            return
        yield int(commit["version"]), commit.get("userMetadata")


def _log(warehouse: Warehouse, table: str) -> deltalake.DeltaTable:
    """The table's log, read without a Spark job: a run asks for a dozen of them, twice."""
    return deltalake.DeltaTable(warehouse.path(table))


def _tables(warehouse: Warehouse, layers: Sequence[str]) -> Iterator[str]:
    """Names of the Delta tables in ``layers``; folders that are none are left alone."""
    for layer in layers:
        files, folder = _hadoop(warehouse, f"{warehouse.root}/{layer}")
        if files.exists(folder):
            names = sorted(status.getPath().getName() for status in files.listStatus(folder))
            yield from (f"{layer}/{name}" for name in names if warehouse.exists(f"{layer}/{name}"))


def _delete(warehouse: Warehouse, table: str) -> None:
    files, folder = _hadoop(warehouse, warehouse.path(table))
    files.delete(folder, True)


def _hadoop(warehouse: Warehouse, path: str) -> tuple[Any, Any]:
    """Hadoop's file system and path object: the way to list and delete that works on any store."""
    context = warehouse.spark.sparkContext
    jvm: Any = context._jvm
    folder = jvm.org.apache.hadoop.fs.Path(path)
    return folder.getFileSystem(context._jsc.hadoopConfiguration()), folder


__all__ = ["Published", "publish", "published", "read_published", "restore", "table_versions"]
