"""What a report is about: the last build, the published version, and what the records say of both."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from pipelines.delta_files import data_files
from pipelines.errors import ConfigError
from pipelines.pointer import Published, publications
from pipelines.report.snapshot import Snapshot, quoted
from pipelines.runs import RunRecord, last_runs

LOOK_BACK: Final = 200
"""How many runs back the evidence for hopping is looked for: a day that touches few users brings none."""


@dataclass(frozen=True)
class Facts:
    """A warehouse as the report sees it; ``run`` is the last build, whatever its end."""

    root: str
    run: RunRecord | None
    pointer: Published | None
    before: Published | None  # an earlier publication with other sessions, if its files are still there
    tables: Snapshot  # of the pointer; without tables where nothing is published
    summary: Mapping[str, Any] = field(default_factory=dict)  # of the run
    config: Mapping[str, Any] = field(default_factory=dict)  # of the run
    built_config: Mapping[str, Any] = field(default_factory=dict)  # of the run that made the tables
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # of the run's gates
    evidence: Mapping[str, Any] | None = None  # of the newest run that measured it
    evidence_run: str | None = None
    fit: Mapping[str, Any] | None = None  # the row of silver/fits

    @property
    def failed(self) -> bool:
        """Whether the last build published nothing."""
        return self.run is not None and self.run.status != "done"


def read_facts(root: str, run_id: str | None = None) -> Facts:
    """The facts of a warehouse as it is, or as the run ``run_id`` had published it.

    Raises ConfigError for a run that has published nothing.
    """
    runs = [run for run in last_runs(root, LOOK_BACK) if run.config not in ("", "{}")]  # upkeep has none
    made = publications(root)
    if run_id is not None:
        made = _until(made, run_id, root)
        runs = [run for run in runs if run.ended_at <= _end(runs, run_id)]
    pointer, run = (made[-1] if made else None), (runs[0] if runs else None)
    measured = next((one for one in runs if one.evidence and one.evidence != "null"), None)
    tables = Snapshot(root, dict(pointer.versions) if pointer else {})
    return Facts(
        root=root,
        run=run,
        pointer=pointer,
        before=_before(root, made),
        tables=tables,
        summary=_plain(run.summary if run else None),
        config=_plain(run.config if run else None),
        built_config=_built_config(runs, pointer),
        metrics=_plain(run.metrics if run else None),
        evidence=_plain(measured.evidence) if measured else None,
        evidence_run=measured.run_id if measured else None,
        fit=_fit(tables, pointer),
    )


def _built_config(runs: Sequence[RunRecord], pointer: Published | None) -> dict[str, Any]:
    """Of the run that made the published tables; of the newest where that record is too old."""
    maker = None if pointer is None else pointer.built_by or pointer.run_id
    found = next((run for run in runs if run.run_id == maker), runs[0] if runs else None)
    return _plain(found.config if found else None)


def _until(made: Sequence[Published], run_id: str, root: str) -> list[Published]:
    places = [place for place, one in enumerate(made) if one.run_id == run_id]
    if not places:
        known = ", ".join(one.run_id for one in made[-5:]) or "none"
        raise ConfigError(f"{root}: no run {run_id} has published here; the last that have: {known}")
    return list(made[: places[-1] + 1])


def _end(runs: Sequence[RunRecord], run_id: str) -> Any:
    ends = [run.ended_at for run in runs if run.run_id == run_id]
    return ends[0] if ends else max(run.ended_at for run in runs)


def _before(root: str, made: Sequence[Published]) -> Published | None:
    now = made[-1].versions.get("silver/sessions") if made else None
    for one in reversed(made[:-1]):
        if one.versions.get("silver/sessions") != now:
            return one if is_readable(root, one, "silver/sessions") else None
    return None


def is_readable(root: str, one: Published, table: str) -> bool:
    """Whether a table's files of a publication are still there: upkeep removes old ones."""
    if table not in one.versions:
        return False
    folder = f"{root}/{table}"
    try:
        files = data_files(DeltaTable(folder, version=one.versions[table]), folder)
    except DeltaError:
        return False
    return all("://" in file or Path(file).exists() for file in files)


def _fit(tables: Snapshot, pointer: Published | None) -> dict[str, Any] | None:
    if pointer is None or pointer.fit_id is None or not tables.has("silver/fits"):
        return None
    columns = "fit_id, train_end, method, dimensions, themes, silhouette, drift"
    found = tables.query(f"SELECT {columns} FROM fits WHERE fit_id = {quoted(pointer.fit_id)}")
    return found[0] if found else None


def _plain(text: str | None) -> dict[str, Any]:
    found: dict[str, Any] | None = json.loads(text) if text else None
    return found or {}
