"""What a warehouse's people ask first: what is published, what runs, how did the last runs end."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from shlex import quote
from typing import Any

from deltalake import DeltaTable

from pipelines.errors import ConfigError, WarehouseError
from pipelines.lock import LockState, local_folder, read_lock
from pipelines.pointer import Published, published
from pipelines.runs import RunRecord, last_runs

SHOWN_RUNS = 5


@dataclass(frozen=True)
class WarehouseStatus:
    """The state of a warehouse at ``now``, read without a JVM."""

    root: str
    now: datetime
    pointer: Published | None
    unpublished: list[str]  # tables with commits beyond the pointer
    lock: LockState | None
    runs: list[RunRecord]  # newest first

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        plain = asdict(self)
        plain["runs"] = [{name: run[name] for name in _RUN_KEYS} for run in plain["runs"]]
        if self.pointer is not None:
            del plain["pointer"]["settings"]
        plain["next"] = next_step(self)
        result: dict[str, Any] = _plain(plain)
        return result


_RUN_KEYS = (
    "run_id",
    "status",
    "started_at",
    "ended_at",
    "failed_gates",
    "gate_failures",
    "error",
    "code_version",
    "code_commit",
)


def read_status(root: str, now: datetime, count: int = SHOWN_RUNS) -> WarehouseStatus:
    """The state of the warehouse at ``root`` with its last ``count`` runs.

    Raises ConfigError where there is no such folder, WarehouseError where it is no warehouse.
    """
    if count < 1:
        raise ConfigError(f"{count} runs cannot be listed; ask for at least 1")
    folder = local_folder(root)
    if folder is not None:
        if not folder.is_dir():
            raise ConfigError(f"{root}: no such folder; pass the warehouse of a build with --warehouse DIR")
        if not (folder / "ops").is_dir() and not (folder / "bronze").is_dir():
            raise WarehouseError(
                f"{root}: not a warehouse (it holds neither ops/ nor bronze/); pass the folder that "
                "jobs/build_sequences.py wrote to"
            )
    lock = None if folder is None else read_lock(folder, clock=now.timestamp)
    pointer = published(root)
    unpublished = [] if folder is None else _unpublished(folder, pointer)
    return WarehouseStatus(root, now, pointer, unpublished, lock, last_runs(root, count))


def next_step(status: WarehouseStatus) -> str:
    """What to do now, in one sentence: the first case that holds."""
    last = status.runs[0] if status.runs else None
    running = status.lock is not None and status.lock.dead is None
    cases = [
        (running, "a run is working: wait for it; until it publishes, readers see what is published"),
        (
            last is not None and last.status == "gate_failed",
            "follow the remedy of each failed gate above, then run again; "
            f"{status.root}/ops/data_docs/index.html shows every check",
        ),
        (last is not None and last.status == "failed", "mend what stopped the last run, then run again"),
        (
            status.lock is not None,
            "the last run died: start it again; it takes the lock over and undoes what was left",
        ),
        (
            bool(status.unpublished),
            "a run died before it published: start it again; it first puts these tables back",
        ),
        (
            status.pointer is None,
            f"build it: spark-submit jobs/build_sequences.py --config FILE --warehouse {quote(status.root)}",
        ),
    ]
    return next((advice for holds, advice in cases if holds), "nothing: the last run was published")


def render(status: WarehouseStatus) -> str:
    """The state as lines for people."""
    lines = [f"warehouse  {status.root}"]
    lines += _published_lines(status)
    lines += _lock_lines(status)
    if status.unpublished:
        lines.append(f"unpublished  commits beyond the pointer in {', '.join(status.unpublished)}")
    lines.append("last runs" if status.runs else "last runs  none is recorded")
    for run in status.runs:
        took = _age(run.ended_at - run.started_at)
        lines.append(
            f"  {run.run_id}  {_VERDICTS[run.status]}, {_age(status.now - run.ended_at)} ago, took {took}"
        )
        lines += [f"      {failure}" for failure in run.gate_failures]
        if run.error and not run.gate_failures:
            lines.append(f"      {run.error}")
    return "\n".join([*lines, f"next  {next_step(status)}"])


_VERDICTS = {"done": "done", "failed": "FAILED", "gate_failed": "GATE FAILED, nothing published"}


def _published_lines(status: WarehouseStatus) -> list[str]:
    pointer = status.pointer
    if pointer is None:
        return ["published  nothing yet"]
    age = _age(status.now - pointer.published_at)
    lines = [
        f"published  number {pointer.number} by run {pointer.run_id}, {age} ago",
        f"  at {_instant(pointer.published_at)}, as of {_instant(pointer.as_of)}",
        f"  fit {pointer.fit_id or 'none'}, config {pointer.config_fingerprint}",
    ]
    lines += [
        f"  stream {stream}: {position.batch + 1} batches, "
        f"{position.batch - position.built} of them not in the sequences yet"
        for stream, position in sorted(pointer.streams.items())
    ]
    width = max((len(table) for table in pointer.versions), default=0)
    lines += [f"  {table:<{width}}  version {version}" for table, version in sorted(pointer.versions.items())]
    return lines


def _lock_lines(status: WarehouseStatus) -> list[str]:
    lock = status.lock
    if lock is None:
        return ["running  nothing"]
    if lock.owner is None:
        return [f"running  an unnamed run, heard of {lock.heartbeat_age:.0f} s ago"]
    owner = lock.owner
    who = f"run {owner.run_id}, process {owner.pid} on {owner.host}, since {owner.since}"
    if lock.dead:
        return [f"running  nothing; {who} left its lock: {lock.dead}"]
    return [f"running  {who}, heard of {lock.heartbeat_age:.0f} s ago"]


def _unpublished(folder: Path, pointer: Published | None) -> list[str]:
    """Tables whose newest version is not the pointer's, nor a restoration of it."""
    versions = {} if pointer is None else pointer.versions
    tables = []
    for log in sorted(folder.glob("*/*/_delta_log")):
        name = f"{log.parent.parent.name}/{log.parent.name}"
        if name.startswith("ops/"):
            continue
        table = DeltaTable(str(log.parent))
        if table.version() == versions.get(name):
            continue
        newest = table.history(1)[0]
        restored = newest.get("operationParameters", {}).get("version")
        if newest.get("operation") != "RESTORE" or str(restored) != str(versions.get(name)):
            tables.append(name)
    return tables


def _instant(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _age(span: timedelta) -> str:
    """A span in its largest unit that fits, such as '3 h'."""
    seconds = max(0, round(span.total_seconds()))
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _plain(value: Any) -> Any:
    """Datetimes as ISO 8601, whatever holds them."""
    special: dict[type, Callable[[Any], Any]] = {
        datetime: lambda moment: moment.isoformat(),
        dict: lambda mapping: {key: _plain(inner) for key, inner in mapping.items()},
        list: lambda items: [_plain(inner) for inner in items],
    }
    return special[type(value)](value) if type(value) in special else value
