"""``ops/runs``: how every run ended, and the summary that is a run's last line on stdout."""

import importlib.metadata
import json
import subprocess
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake

TABLE: Final = "ops/runs"

_CONFIGURATION: Final = {"delta.dataSkippingStatsColumns": "started_at,ended_at"}
"""The log keeps the smallest and largest value of no other column: an error may name a user."""

Status = Literal["done", "failed", "gate_failed"]

_SCHEMA: Final = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("started_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("ended_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("config", pa.string(), nullable=False),
        pa.field("config_fingerprint", pa.string(), nullable=False),
        pa.field("code_version", pa.string()),
        pa.field("code_commit", pa.string()),
        pa.field("summary", pa.string()),
        pa.field("failed_gates", pa.list_(pa.string())),
        pa.field("gate_failures", pa.list_(pa.string())),
        pa.field("error", pa.string()),
        pa.field("evidence", pa.string()),
        pa.field("metrics", pa.string()),
    ]
)


@dataclass(frozen=True)
class RunSummary:
    """What a run did; ``to_plain`` is the last line of stdout. ``extra`` adds keys at the top level."""

    run_id: str
    events_in: int = 0
    events_kept: int = 0
    duplicates: int = 0
    rejected: dict[str, int] = field(default_factory=dict)  # reason -> rows
    users: int = 0
    sessions: int = 0
    hops: int = 0
    returns: int = 0
    themes: int = 0
    rows_written: int = 0
    gates: dict[str, bool] = field(default_factory=dict)  # name -> passed
    versions: dict[str, int] = field(default_factory=dict)  # table -> version
    seconds: dict[str, float] = field(default_factory=dict)  # stage -> seconds
    extra: dict[str, Any] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """The JSON object as plain values; a key of ``extra`` may not hide one of ours."""
        plain = asdict(self)
        extra = plain.pop("extra")
        hidden = sorted(extra.keys() & plain.keys())
        if hidden:
            raise ValueError(f"extra keys would hide the summary's own: {', '.join(hidden)}")
        result: dict[str, Any] = json.loads(json.dumps(plain | extra, default=_plain))
        return result

    def to_json(self) -> str:
        """``to_plain`` as one line."""
        return json.dumps(self.to_plain())


@dataclass(frozen=True)
class RunRecord:
    """One row of ``ops/runs``. ``config``, ``summary``, ``evidence`` and ``metrics`` are JSON texts."""

    run_id: str
    status: Status
    started_at: datetime  # UTC
    ended_at: datetime  # UTC
    config: str
    config_fingerprint: str
    code_version: str | None = None
    code_commit: str | None = None
    summary: str | None = None
    failed_gates: list[str] = field(default_factory=list)
    gate_failures: list[str] = field(default_factory=list)  # one line each: value, bound, remedy
    error: str | None = None
    evidence: str | None = None
    metrics: str | None = None  # what the gates measured; the next run's drift reads it


def record_run(root: str, record: RunRecord) -> None:
    """Append a run's record; needs no Spark session, so a run that lost its own can still tell."""
    rows = pa.Table.from_pylist([asdict(record)], schema=_SCHEMA)
    commit = CommitProperties(custom_metadata={"userMetadata": record.run_id})
    write_deltalake(
        f"{root}/{TABLE}",
        rows,
        mode="append",
        schema_mode="merge",
        commit_properties=commit,
        configuration=_CONFIGURATION,
    )


def last_runs(root: str, count: int) -> list[RunRecord]:
    """The newest records, the run that ended last first."""
    path = f"{root}/{TABLE}"
    if not DeltaTable.is_deltatable(path):
        return []
    # Columns that a newer version of us may have added are not ours to read.
    rows = DeltaTable(path).to_pyarrow_table(columns=_SCHEMA.names)
    newest = rows.sort_by([("ended_at", "descending")]).slice(0, count)
    return [RunRecord(**row) for row in newest.to_pylist()]


def run_metrics(root: str, run_id: str) -> dict[str, dict[str, float]] | None:
    """What the gates of a run measured, by layer; None where no such record is kept."""
    path = f"{root}/{TABLE}"
    if not DeltaTable.is_deltatable(path):
        return None
    rows = DeltaTable(path).to_pyarrow_table(
        columns=["metrics"], filters=[("run_id", "=", run_id), ("status", "=", "done")]
    )
    found = [text for text in rows.column("metrics").to_pylist() if text]
    return json.loads(found[-1]) if found else None


def code_version() -> tuple[str | None, str | None]:
    """Version and git commit of this code, as far as they are known; '+changed' for edited files."""
    try:
        version = importlib.metadata.version("seqloom")
    except importlib.metadata.PackageNotFoundError:
        version = None
    here = Path(__file__).resolve().parent.parent
    commit = _git(here, "rev-parse", "HEAD")
    if commit and _git(here, "status", "--porcelain", "--untracked-files=no"):
        commit += "+changed"
    return version, commit or None


def _git(folder: Path, *words: str) -> str:
    if not (folder / ".git").exists():
        return ""
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):  # no git here: the commit is optional
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "item"):  # NumPy scalars
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in a run's summary")


assert [f.name for f in fields(RunRecord)] == _SCHEMA.names
