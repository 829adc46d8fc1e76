"""Builds of small event sets through the job's own entry, for end-to-end tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from pipelines.build import BuildRequest, build
from pipelines.pointer import Published, require_published
from pipelines.synthetic.generate import generate
from pipelines.synthetic.settings import Settings
from tests.generated import SOURCE

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
COLUMNS = ["event_id", "user_id", "item_id", "category_id", "event_type", "ts"]

CONFIG = f"""{SOURCE}\
[source.window]
start = "2026-01-01T00:00:00Z"
end = "2026-01-10T00:00:00Z"
[themes]
count = 6
[gates]
min_vector_coverage = 0.0
max_rejected_share = 0.5
"""

SETTINGS = Settings(
    events=6_000, seed=3, start=START, days=9, themes=6, items_per_theme=40, bots=0, files=2, off_theme=0.02
)


def true_events(folder: Path, settings: Settings = SETTINGS) -> pd.DataFrame:
    """The generator's valid events, each once, in their order, as ``COLUMNS`` of text."""
    generate(settings, folder)
    rows = pd.concat(pd.read_csv(file, dtype=str) for file in sorted((folder / "events").iterdir()))
    true = pd.read_parquet(folder / "truth" / "events.parquet", columns=["event_id"])
    kept = rows[rows["event_id"].isin(true["event_id"])].drop_duplicates("event_id")
    return kept[COLUMNS].sort_values(["ts", "event_id"], ignore_index=True)


@dataclass(frozen=True)
class Case:
    """One folder with a config, where sources and warehouses of a test lie."""

    folder: Path
    overrides: Sequence[str] = field(default_factory=tuple)

    def build(self, source: Path | None, warehouse: str = "warehouse", **request: Any) -> Mapping[str, Any]:
        config = self.folder / "config.toml"
        config.write_text(CONFIG)
        given = {"now": NOW, "set": [*self.overrides, *request.pop("set", [])]} | request
        path = None if source is None else str(source)
        return build(BuildRequest(str(config), path, str(self.folder / warehouse), **given))

    def path(self, warehouse: str = "warehouse") -> Path:
        return self.folder / warehouse

    def published(self, warehouse: str = "warehouse") -> Published:
        return require_published(str(self.path(warehouse)))

    def write(self, events: pd.DataFrame, name: str, files: int = 1) -> Path:
        """The events as a folder of CSV files, dealt out in their order."""
        folder = self.folder / name
        folder.mkdir()
        for number in range(files):
            events.iloc[number::files].to_csv(folder / f"part-{number}.csv", index=False)
        return folder
