"""The job: compaction, and removal of what no publication and no registered model needs."""

import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from deltalake import CommitProperties, DeltaTable
from pyspark.sql import SparkSession

from pipelines.carry import publish_again, record_upkeep
from pipelines.errors import ConfigError
from pipelines.lock import Lock, local_folder, located
from pipelines.maintenance.keep import Kept, kept_versions
from pipelines.maintenance.sizes import MB, TableSize, measure, plain, removable, render, small_files
from pipelines.old_versions import delta_tables, live_files, remove
from pipelines.pointer import published
from pipelines.progress import Progress
from pipelines.publish import restore
from pipelines.registered import client_of, models_of, tracking_uri
from pipelines.session_settings import session_settings
from pipelines.spark import start_spark
from pipelines.turns import hold_lock_in_turn
from pipelines.warehouse import LOG_RETENTION, Warehouse, require_writable

ROW_GROUP_BYTES: Final = 16 * 2**20
"""Of compacted files: training shuffles row groups, and each of its processes needs one."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class MaintainRequest:
    """What the command line asks for. ``now`` is the run's clock, read once."""

    warehouse: str
    keep_days: float = 7.0
    file_mb: int = 64
    tracking: str | None = None  # MLflow's URI; default: its environment variable
    apply: bool = False
    now: datetime = field(default_factory=_now)

    @property
    def since(self) -> datetime:
        """What was published or written later stays."""
        return self.now - timedelta(days=self.keep_days)


@dataclass(frozen=True)
class Upkeep:
    """One run of the job."""

    request: MaintainRequest
    folder: Path
    registry: Any  # MLflow's client; None where no registry was named
    progress: Progress

    def kept(self) -> Kept:
        """Table -> versions that must stay readable, as things are now: the registry is asked."""
        root = self.request.warehouse
        models = None if self.registry is None else models_of(root, self.registry)
        return kept_versions(root, models, self.request.since)

    def sizes(self, kept: Kept) -> dict[str, TableSize]:
        """The tables as they are now."""
        before = self.request.since.timestamp()
        return measure(self.folder, kept, before, self.request.file_mb * MB)


def maintain_tables(request: MaintainRequest) -> Mapping[str, Any]:
    """Put small files together and remove old ones; the summary that becomes the last line of stdout.

    Without ``apply`` nothing is written. No row of any table changes. Raises SeqloomError.
    """
    request = replace(request, warehouse=located(request.warehouse))
    upkeep = _prepare(request)
    if not request.apply:
        kept = upkeep.kept()
        before = upkeep.sizes(kept)
        upkeep.progress.say(f"dry run; --apply does it\n{render(before)}")
        return _summary(upkeep, kept, before, None, [])
    require_writable(request.warehouse)
    run_id = f"maintain-{request.now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
    with hold_lock_in_turn(request.warehouse, run_id, upkeep.progress) as lock:
        return _apply(upkeep, run_id, lock)


def _prepare(request: MaintainRequest) -> Upkeep:
    folder = local_folder(request.warehouse)
    if folder is None or not folder.is_dir():
        raise ConfigError(f"{request.warehouse}: no such folder; pass the warehouse of a build")
    if request.keep_days < 0 or request.file_mb < 1:
        raise ConfigError("--keep-days must be at least 0 and --file-mb at least 1")
    progress, uri = Progress(), tracking_uri(request.tracking)
    if uri is None:
        progress.say("no registry is named (--tracking, MLFLOW_TRACKING_URI): every publication is kept")
        return Upkeep(request, folder, None, progress)
    progress.say("asking the model registry")
    client = client_of(uri)
    models = sum(1 for _ in models_of(request.warehouse, client))
    progress.say(f"{models:,} registered models name versions of these tables")
    return Upkeep(request, folder, client, progress)


def _apply(upkeep: Upkeep, run_id: str, lock: Lock | None) -> Mapping[str, Any]:
    request, progress, root = upkeep.request, upkeep.progress, upkeep.request.warehouse
    pointer = published(root)
    with progress.stage("start Spark"):
        warehouse = Warehouse(start_spark("seqloom maintain", places=[f"{root}/bronze"]), root, run_id)
    for line in restore(warehouse, pointer, lock=lock):
        progress.say(f"warning: {line}")
    before = upkeep.sizes(upkeep.kept())
    with progress.stage("compact") as stage:
        done = compact(warehouse, upkeep.folder, request.file_mb * MB)
        stage.say(", ".join(done) or "nothing to do")
    with progress.stage("publish"):
        publish_again(warehouse, pointer, lock, request.now)
    with progress.stage("remove old files") as stage:
        kept = upkeep.kept()  # once more: a model may have been registered meanwhile
        files, gone = remove_old(upkeep, kept, lock)
        stage.say(f"{files:,} files")
        for name, versions in gone.items():
            told = ", ".join(map(str, versions))
            progress.say(f"warning: {name}: versions {told} are named, but were gone before")
    after = upkeep.sizes(kept)
    progress.say(f"before and after\n{render(before, after)}")
    summary = _summary(upkeep, kept, before, after, done)
    record_upkeep(root, run_id, request.now, pointer, summary=summary)
    return summary


def compact(warehouse: Warehouse, folder: Path, file_bytes: int) -> list[str]:
    """Put small files together in tables that have several in a partition; these tables.

    A table from before log entries were kept for good is told to keep them.
    """
    done = []
    with _file_sizes(warehouse.spark, file_bytes):
        for name in delta_tables(folder):
            table = folder / name
            if name.startswith("ops/"):
                if _compact_small(table, file_bytes, warehouse.run_id):
                    done.append(name)
                continue
            configured = DeltaTable(str(table)).metadata().configuration
            if not LOG_RETENTION.items() <= configured.items():
                warehouse.set_properties(name, LOG_RETENTION)
            if small_files(live_files(table), file_bytes):
                warehouse.compact(name)
                done.append(name)
    return done


def remove_old(upkeep: Upkeep, kept: Kept, lock: Lock | None) -> tuple[int, dict[str, list[int]]]:
    """Remove what no kept version needs; the number of files, and the kept versions that were gone before.

    LockedError where the lock was lost: files that belong to no version may be another run's.
    """
    before = upkeep.request.since.timestamp()
    count, gone = 0, {}
    for name in delta_tables(upkeep.folder):
        if lock is not None:
            lock.require_held()
        old = removable(upkeep.folder / name, kept.get(name, ()), before)
        remove(old.data)
        remove(old.log)
        count += len(old.data.paths) + len(old.log.paths)
        if old.gone:
            gone[name] = old.gone
    return count, gone


def _compact_small(table: Path, file_bytes: int, run_id: str) -> bool:
    """A table of ``ops`` has a file for each run; needs no Spark."""
    if not small_files(live_files(table), file_bytes):
        return False
    commit = CommitProperties(custom_metadata={"userMetadata": run_id})
    DeltaTable(str(table)).optimize.compact(target_size=file_bytes, commit_properties=commit)
    return True


def _file_sizes(spark: SparkSession, file_bytes: int) -> AbstractContextManager[None]:
    """What Delta takes for a small file, and how large it makes files and row groups."""
    ours = {
        "spark.databricks.delta.optimize.minFileSize": str(file_bytes // 2),
        "spark.databricks.delta.optimize.maxFileSize": str(file_bytes),
        "parquet.block.size": str(ROW_GROUP_BYTES),
    }
    return session_settings(spark, ours)


def _summary(
    upkeep: Upkeep,
    kept: Kept,
    before: dict[str, TableSize],
    after: dict[str, TableSize] | None,
    compacted: list[str],
) -> Mapping[str, Any]:
    pointer = published(upkeep.request.warehouse)
    return {
        "applied": after is not None,
        "compacted": compacted,
        "kept": {name: sorted(versions) for name, versions in kept.items()},
        "before": plain(before),
        "after": None if after is None else plain(after),
        "publication": None if pointer is None else pointer.number,
        "seconds": upkeep.progress.seconds,
    }
