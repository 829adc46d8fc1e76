"""One batch of a stream into bronze: taken in as a build takes in its source, and published.

A batch counts once. It writes events and refused rows and then moves the pointer, in one commit that also
says which batch this was. Killed before, it is undone by whoever holds the lock next and taken in again;
killed after, it is known when Spark brings it again, and left alone.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from pyspark.sql import DataFrame

from pipelines.bronze import lateness_limit, later_watermark
from pipelines.config import Config
from pipelines.fingerprint import fingerprint, require_same_settings, settings_json
from pipelines.ingest import IngestResult, Intake, ingest_rows
from pipelines.ingest.write import Batch
from pipelines.lock import Lock
from pipelines.pointer import Published, published
from pipelines.positions import NOWHERE
from pipelines.publish import publish, restore, table_versions
from pipelines.run_context import Run

BRONZE: Final = ("bronze",)
NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""``as_of`` of a warehouse without sequences: nothing is before it."""


def is_published(root: str, stream: str, number: int) -> bool:
    """Whether bronze holds the batch already."""
    pointer = published(root)
    return pointer is not None and number <= pointer.streams.get(stream, NOWHERE).batch


def take_in(run: Run, rows: DataFrame, stream: str, number: int, lock: Lock | None) -> IngestResult:
    """Write a batch of raw rows to bronze and publish it; what became of the rows.

    ``run`` is named after the batch, and holds the warehouse's ``lock``. Raises SeqloomError, with nothing
    published, where the config no longer is the warehouse's or another writer came between.
    """
    config, pointer, now = run.config, run.pointer, run.started_at
    require_same_settings(config.warehouse, pointer, config)
    restore(run.warehouse, pointer, BRONZE, lock=lock)
    before = pointer or _first(config, now)
    intake = Intake(late_before=lateness_limit(pointer, config, now), column_kinds=before.column_kinds)
    result = ingest_rows(run.warehouse, config, rows, Batch(run.run_id, now), intake)
    if lock is not None:
        lock.require_held()
    position = before.streams.get(stream, NOWHERE).after(number, result.duplicates, result.conflicts)
    new = replace(
        before,
        run_id=run.run_id,
        published_at=datetime.now(UTC),
        versions=before.versions | table_versions(run.warehouse, BRONZE),
        watermark=later_watermark(before.watermark, result.max_ts, now),
        built_by=before.built_by if before.streams else before.run_id or None,
        streams=before.streams | {stream: position},
        column_kinds=result.column_kinds,
    )
    publish(run.warehouse, new, pointer, BRONZE)
    return result


def _first(config: Config, now: datetime) -> Published:
    """A pointer to a warehouse that holds nothing yet."""
    return Published(
        run_id="",
        published_at=now,
        as_of=NEVER,
        fit_id=None,
        versions={},
        config_fingerprint=fingerprint(config),
        settings=settings_json(config),
        spec={},
    )
