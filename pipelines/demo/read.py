"""What ``make demo`` left in its folder, read back from its own files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from deltalake import DeltaTable

from pipelines.delta_files import data_files
from pipelines.errors import ConfigError

TABLES = (
    "bronze/events",
    "bronze/events_rejected",
    "silver/sessions",
    "silver/themes",
    "gold/user_sequences",
)
REPORTS = {"the tables": "warehouse/reports/build.html", "the model": "runs/mos/report.html"}
"""What a report is of, and where in the demo's folder it lies."""


@dataclass(frozen=True)
class Demo:
    """The demo's figures, as its steps wrote them."""

    folder: Path
    generated: Mapping[str, Any]  # the generator's own counts, and its settings
    build: Mapping[str, Any]  # the build's summary
    truth: Mapping[str, Any]  # jobs/score_truth.py
    rows: Mapping[str, int]  # of each table that is published
    models: list[Mapping[str, Any]] = field(default_factory=list)  # registered, in order
    contest: Mapping[str, Any] | None = None  # the last decision on a challenger
    scored: Mapping[str, Any] | None = None
    reports: Mapping[str, Path] = field(default_factory=dict)


def read_demo(folder: Path) -> Demo:
    """The demo in ``folder``; ConfigError where it has not run to where the tables were scored."""
    lines = _lines(folder / "models.jsonl")
    contests = [line for line in lines if line.get("differences")]
    build = _object(folder / "summary.json")
    rows = {
        table: _rows(folder / "warehouse" / table, version)
        for table, version in build["versions"].items()
        if table in TABLES
    }
    reports = {of: folder / place for of, place in REPORTS.items() if (folder / place).is_file()}
    settings = json.loads((folder / "truth" / "summary.json").read_text(encoding="utf-8"))["settings"]
    return Demo(
        folder=folder,
        generated=_object(folder / "generated.json") | {"settings": settings},
        build=build,
        truth=_object(folder / "found.json"),
        rows={table: rows[table] for table in TABLES if table in rows},
        models=[line for line in lines if "test" in line],
        contest=contests[-1] if contests else None,
        scored=_object(folder / "scored.json") if (folder / "scored.json").exists() else None,
        reports=reports,
    )


def _rows(table: Path, version: int) -> int:
    """Rows of a table's version, by its files' footers."""
    files = data_files(DeltaTable(str(table), version=version), str(table))
    return sum(pq.ParquetFile(file).metadata.num_rows for file in files)


def _object(path: Path) -> dict[str, Any]:
    """The JSON object on a file's last line, where every job puts its summary."""
    lines = _lines(path)
    if not lines:
        raise ConfigError(f"{path}: no summary of the demo's; run make demo first")
    return lines[-1]


def _lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file, one a line; none where the file is missing."""
    if not path.exists():
        return []
    texts = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(text) for text in texts if text.startswith("{")]
