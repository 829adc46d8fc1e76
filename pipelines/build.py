"""The main job: one run from raw events to a published version, or to a recorded failure."""

import json
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from deltalake.exceptions import DeltaError

from pipelines.bronze import watermark
from pipelines.config import Config, load_config
from pipelines.errors import ConfigError, GateError, SeqloomError
from pipelines.faults import told_plainly
from pipelines.fingerprint import fingerprint, require_same_settings, settings_json
from pipelines.ingest.write import EVENTS
from pipelines.lock import Lock
from pipelines.outcome import Outcome
from pipelines.pointer import Published, published
from pipelines.positions import built
from pipelines.progress import Progress
from pipelines.publish import publish, restore, table_versions
from pipelines.report.write import write_report
from pipelines.run_context import Run
from pipelines.runs import RunRecord, RunSummary, Status, code_version, record_run
from pipelines.spark import start_spark
from pipelines.stages import build_tables
from pipelines.turns import hold_lock_in_turn
from pipelines.warehouse import Warehouse, require_writable
from pipelines.warm_up import warm_up

COLUMNS_KEY = "source.columns."


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class BuildRequest:
    """What the command line asks for; times are UTC. ``now`` is the run's clock, read once."""

    config: str | None = None
    source: str | None = None
    warehouse: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    as_of: datetime | None = None
    fit: str = "auto"
    full_refresh: bool = False
    retry_rejected: bool = False
    from_bronze: bool = False
    dry_run: bool = False
    set: list[str] = field(default_factory=list)
    now: datetime = field(default_factory=_now)


def build(request: BuildRequest) -> Mapping[str, Any]:
    """Run the job; the summary that becomes the last line of stdout.

    Raises SeqloomError with the exit status of what went wrong; the run is recorded either way.
    """
    if request.dry_run:
        return _dry_run(request)
    config = read_config(request)
    with told_plainly(config.warehouse):
        require_writable(config.warehouse)
    run_id = f"{request.now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
    progress = Progress()
    source = EVENTS if request.from_bronze else config.source.path
    progress.say(f"run {run_id}: {source} -> {config.warehouse}")
    with (
        told_plainly(config.warehouse),
        hold_lock_in_turn(config.warehouse, run_id, progress) as lock,
    ):
        pointer = published(config.warehouse)
        _require_bronze(config, request, pointer)
        if not request.full_refresh:
            require_same_settings(config.warehouse, pointer, config)
        warm_up()
        with progress.stage("start Spark"):
            places = (*([] if request.from_bronze else [source]), f"{config.warehouse}/{EVENTS}")
            spark = start_spark("seqloom build", config.spark.settings, places)
        warehouse = Warehouse(spark, config.warehouse, run_id)
        run = Run(warehouse, config, run_id, request.now, pointer, progress)
        return _run(run, request, lock)


def read_config(request: BuildRequest) -> Config:
    """The request's configuration file with the command line's values over it."""
    if request.config is None:
        raise ConfigError("--config FILE is needed; --dry-run --source PATH proposes one for an unknown log")
    if request.start and request.end and request.start >= request.end:
        raise ConfigError(
            f"--start {request.start.isoformat()} is not before --end {request.end.isoformat()}"
        )
    if request.retry_rejected and (request.start or request.end or request.full_refresh):
        raise ConfigError(
            "--retry-rejected takes all of quarantine; leave out --start, --end, --full-refresh"
        )
    if request.from_bronze and (request.start or request.end or request.retry_rejected or request.source):
        raise ConfigError(
            "--from-bronze reads no source; leave out --source, --start, --end, --retry-rejected"
        )
    given = {"source.path": request.source, "warehouse": request.warehouse}
    return load_config(request.config, request.set, {key: value for key, value in given.items() if value})


def _require_bronze(config: Config, request: BuildRequest, pointer: Published | None) -> None:
    """ConfigError where --from-bronze finds nothing, or where --full-refresh would lose streamed events."""
    root = config.warehouse
    if request.from_bronze and (pointer is None or EVENTS not in pointer.versions):
        raise ConfigError(
            f"--from-bronze: {root} has no published {EVENTS} yet; run jobs/stream_events.py, or build from "
            "a source"
        )
    if request.full_refresh and not request.from_bronze and pointer is not None and pointer.streams:
        raise ConfigError(
            f"--full-refresh would drop the events that {', '.join(sorted(pointer.streams))} brought to "
            f"{root}; rebuild what is there with --from-bronze --full-refresh, or use another --warehouse"
        )


def _run(run: Run, request: BuildRequest, lock: Lock | None) -> Mapping[str, Any]:
    outcome = Outcome()
    try:
        with told_plainly(run.config.warehouse, lock):
            for line in restore(run.warehouse, run.pointer, lock=lock):
                run.progress.say(f"warning: {line}")
            build_tables(run, request, outcome)
            with run.progress.stage("publish"):
                new = _pointer(run, outcome)
                publish(run.warehouse, new, run.pointer)
    except GateError as error:
        _record(run, outcome, "gate_failed", str(error))
        _report(run)
        raise
    except SeqloomError as error:
        _record(run, outcome, "failed", str(error))
        _report(run)
        raise
    except BaseException as error:
        _record(run, outcome, "failed", f"{type(error).__name__}: {error}"[:2000])
        raise
    summary = _summary(run, outcome, new.versions)
    _record(run, outcome, "done", None, summary)
    return summary.to_plain() | _report(run)


def _report(run: Run) -> dict[str, str | None]:
    """Write the report of what the warehouse now is; its path, or why there is none.

    Nothing that goes wrong here undoes a run: it is said aloud, and the summary holds it.
    """
    try:
        with run.progress.stage("report") as stage:
            path = write_report(run.config.warehouse)
            stage.say(str(path))
    except Exception as error:
        run.progress.say(f"WARNING: the build report could not be written: {type(error).__name__}: {error}")
        return {"report": None, "report_error": f"{type(error).__name__}: {error}"}
    return {"report": str(path)}


def _pointer(run: Run, outcome: Outcome) -> Published:
    assert outcome.as_of is not None
    return Published(
        run_id=run.run_id,
        published_at=_now(),
        as_of=outcome.as_of,
        fit_id=outcome.fit_id,
        versions=table_versions(run.warehouse),
        config_fingerprint=fingerprint(run.config),
        settings=settings_json(run.config),
        spec=outcome.spec.to_json() if outcome.spec else {},
        watermark=watermark(run),
        built_by=run.run_id,
        streams=built(run.pointer.streams) if run.pointer else {},
        column_kinds=outcome.column_kinds,
    )


def _summary(run: Run, outcome: Outcome, versions: dict[str, int]) -> RunSummary:
    return RunSummary(
        run_id=run.run_id,
        gates=outcome.gates,
        versions=versions,
        seconds=run.progress.seconds,
        extra=outcome.extra,
        **outcome.counts,
    )


def _record(
    run: Run, outcome: Outcome, status: Status, error: str | None, summary: RunSummary | None = None
) -> None:
    """Keep what is known of a run; where that fails, the run's own end must not be hidden by it."""
    version, commit = code_version()
    done = summary or _summary(run, outcome, {})
    try:
        record_run(
            run.config.warehouse,
            RunRecord(
                run_id=run.run_id,
                status=status,
                started_at=run.started_at,
                ended_at=_now(),
                config=run.config.model_dump_json(),
                config_fingerprint=fingerprint(run.config),
                code_version=version,
                code_commit=commit,
                summary=json.dumps(done.to_plain()),
                failed_gates=[name for name, passed in outcome.gates.items() if not passed],
                gate_failures=outcome.gate_failures,
                error=error,
                evidence=outcome.evidence_json(),
                metrics=outcome.metrics_json(),
            ),
        )
    except (OSError, DeltaError) as cause:
        run.progress.say(f"warning: ops/runs has no record of this run, {status}: {cause}")


def _dry_run(request: BuildRequest) -> Mapping[str, Any]:
    """Profile the source; what a config or ``--set source.columns.…`` says is taken as known."""
    from pipelines.profile import profile_source  # noqa: PLC0415

    if request.config is not None:
        source = read_config(request).source
        columns = {ours: theirs for ours, theirs in source.columns.model_dump().items() if theirs}
        profile = profile_source(source.path, source.format, columns=columns, field_names=source.field_names)
    elif request.source is not None:
        pairs = (text.partition("=") for text in request.set)
        columns = {
            key.strip().removeprefix(COLUMNS_KEY): value.strip("\"'")
            for key, _, value in pairs
            if key.strip().startswith(COLUMNS_KEY)
        }
        profile = profile_source(request.source, columns=columns)
    else:
        raise ConfigError("--dry-run needs --source PATH (or --config FILE)")
    print(profile.to_text(), file=sys.stderr)  # noqa: T201
    print(profile.to_toml(), file=sys.stderr)  # noqa: T201
    return profile.to_json()
