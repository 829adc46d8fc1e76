"""Publishing what upkeep has made of the tables, with all that the published pointer says beside them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pipelines.lock import Lock
from pipelines.pointer import Published
from pipelines.publish import publish, table_versions
from pipelines.runs import RunRecord, code_version, record_run, run_metrics
from pipelines.warehouse import Warehouse


def publish_again(
    warehouse: Warehouse, pointer: Published | None, lock: Lock | None, now: datetime
) -> Published | None:
    """Publish the present versions with the pointer's fit, ``as_of`` and settings; the new pointer.

    The old one where no version differs. Raises SeqloomError as ``pipelines.publish.publish`` does.
    """
    versions = table_versions(warehouse)
    if pointer is None or versions == pointer.versions:
        return pointer
    if lock is not None:
        lock.require_held()
    new = replace(pointer, run_id=warehouse.run_id, published_at=now, versions=versions)
    return publish(warehouse, new, pointer)


def record_upkeep(
    root: str,
    run_id: str,
    started_at: datetime,
    before: Published | None,
    *,
    summary: Mapping[str, Any],
    error: str | None = None,
) -> None:
    """A record in ``ops/runs`` that carries on what the gates of the last build measured.

    The next build compares itself with the run that the pointer names.
    """
    metrics = None if before is None else run_metrics(root, before.run_id)
    version, commit = code_version()
    record = RunRecord(
        run_id=run_id,
        status="failed" if error else "done",
        error=error,
        started_at=started_at,
        ended_at=datetime.now(UTC),
        config="{}",
        config_fingerprint="" if before is None else before.config_fingerprint,
        code_version=version,
        code_commit=commit,
        summary=json.dumps(summary),
        metrics=None if metrics is None else json.dumps(metrics),
    )
    record_run(root, record)
