"""Small sources for the ingest tests: lines in, configuration and result out."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.config.load import parse_config
from pipelines.config.model import Config
from pipelines.ingest import IngestResult, Intake, ingest
from pipelines.warehouse import Warehouse

INGESTED_AT = datetime(2024, 1, 10, tzinfo=UTC)
HEADER = "user,item,category,type,time"
COLUMNS = {
    "user_id": "user",
    "item_id": "item",
    "category_id": "category",
    "event_type": "type",
    "ts": "time",
}
TYPES = {"view": "browse", "cart": "intent", "buy": "purchase", "rate": "feedback"}
GOOD = "u1,i1,c1,view,1704067200"  # 2024-01-01T00:00:00Z


def write(path: Path, lines: Iterable[str | bytes], end: bytes = b"\n") -> Path:
    """A file of the lines, each ended by ``end`` but the last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(end.join(line.encode() if isinstance(line, str) else line for line in lines))
    return path


def configure(path: Path, **changes: Any) -> Config:
    """A configuration for the columns above; ``source`` keys are merged, other sections replace."""
    source = {
        "path": str(path),
        "format": "csv",
        "ts_unit": "s",
        "columns": COLUMNS,
        "event_types": TYPES,
        **changes.pop("source", {}),
    }
    return parse_config({"source": source, "spark": {"partitions": 2}, **changes}, "test")


def run(warehouse: Warehouse, config: Config, batch_id: str = "b1", **options: Any) -> IngestResult:
    return ingest(warehouse, config, batch_id, INGESTED_AT, Intake(**options))


def events(warehouse: Warehouse, *columns: str) -> list[tuple[Any, ...]]:
    """Bronze's events, sorted."""
    frame = warehouse.read("bronze/events").select(*columns)
    return sorted((tuple(row) for row in frame.collect()), key=str)


def rejected(warehouse: Warehouse) -> list[tuple[str, str]]:
    """``(reason, raw)`` of refused rows, sorted."""
    return sorted((row.reason, row.raw) for row in warehouse.read("bronze/events_rejected").collect())
