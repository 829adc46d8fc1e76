"""What a stream is asked to do, and the name by which it is known from one start to the next."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from features.durations import parse_duration
from pipelines.config import Config, load_config
from pipelines.errors import ConfigError

MAX_FILES: Final = 100
MAX_OFFSETS: Final = 1_000_000
TRIGGER: Final = "30s"
CHECKPOINTS: Final = "ops/_stream"


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class StreamRequest:
    """What the command line asks for. ``clock`` is asked once a batch, for ``ingested_at``."""

    config: str | None = None
    source: str | None = None
    kafka: str | None = None  # bootstrap servers
    topic: str | None = None
    warehouse: str | None = None
    trigger: str = TRIGGER
    once: bool = False
    max_files: int = MAX_FILES
    max_offsets: int = MAX_OFFSETS
    set: list[str] = field(default_factory=list)
    clock: Callable[[], datetime] = _now

    def name(self, config: Config) -> str:
        """The stream's name: the same for the same folder or topic, whatever else changes."""
        kind, place = ("kafka", self.topic or "") if self.kafka else ("files", _absolute(config.source.path))
        readable = re.sub(r"[^a-z0-9]+", "-", place.rstrip("/").rpartition("/")[2].lower()).strip("-")
        digest = hashlib.md5(f"{kind}:{place}".encode(), usedforsecurity=False).hexdigest()[:8]
        return f"{readable[:40]}-{digest}"

    def trigger_milliseconds(self) -> int:
        """The trigger's interval; ConfigError where it is none."""
        try:
            return parse_duration(self.trigger) // 1000
        except ValueError as error:
            raise ConfigError(f"--trigger {error}") from None


def read_stream_config(request: StreamRequest) -> Config:
    """The configuration file with the command line's values over it; ConfigError where these do not fit."""
    if request.config is None:
        raise ConfigError(
            "--config FILE is needed; build_sequences --dry-run proposes one for an unknown log"
        )
    if bool(request.kafka) != bool(request.topic):
        raise ConfigError("--kafka BOOTSTRAP and --topic TOPIC belong together")
    if request.kafka and request.source:
        raise ConfigError("--source and --kafka are two streams; start one process for each")
    if request.max_files < 1 or request.max_offsets < 1:
        raise ConfigError("--max-files and --max-offsets must be at least 1")
    request.trigger_milliseconds()
    given = {"source.path": request.source, "warehouse": request.warehouse}
    config = load_config(request.config, request.set, {key: value for key, value in given.items() if value})
    if not request.kafka and config.source.format == "delta":
        raise ConfigError("source.format = 'delta' does not arrive as files; stream csv, jsonl or parquet")
    return config


def _absolute(path: str) -> str:
    return path if "://" in path else str(Path(path).resolve())
