"""``ops/published``: one row per published version, appended by compare-and-swap; needs no JVM."""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from shlex import quote
from typing import Any, Final

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from pipelines.errors import SeqloomError, WarehouseError
from pipelines.positions import Position, positions_from_json, positions_to_json

TABLE: Final = "ops/published"

CONFIGURATION: Final = {"delta.dataSkippingStatsColumns": "number"}
"""The log keeps the smallest and largest value of no other column: texts do not belong there."""

_SCHEMA: Final = pa.schema(
    [
        pa.field("number", pa.int64(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("published_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("as_of", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("fit_id", pa.string()),
        pa.field("versions", pa.map_(pa.string(), pa.int64())),
        pa.field("config_fingerprint", pa.string(), nullable=False),
        pa.field("settings", pa.string(), nullable=False),
        pa.field("spec", pa.string(), nullable=False),
        pa.field("watermark", pa.timestamp("us", tz="UTC")),
        pa.field("built_by", pa.string()),
        pa.field("streams", pa.string()),
        pa.field("column_kinds", pa.string()),
    ]
)


@dataclass(frozen=True)
class Published:
    """One consistent set of table versions: nothing at or after ``as_of`` is in it.

    ``settings`` is the JSON of ``pipelines.fingerprint.table_settings``; ``spec`` the JSON object of
    ``SequenceSpec.to_json``. ``number`` counts publications from 0 and is set by ``move_pointer``. A stream
    moves bronze alone: ``run_id`` is then its batch, and ``built_by`` the run that made the other layers.
    """

    run_id: str
    published_at: datetime  # UTC
    as_of: datetime  # UTC
    fit_id: str | None
    versions: dict[str, int]  # "layer/name" -> Delta version
    config_fingerprint: str
    settings: str
    spec: dict[str, Any]
    watermark: datetime | None = None  # UTC; how far events are known
    built_by: str | None = None  # the build's run_id; before the first stream also None
    streams: dict[str, Position] = field(default_factory=dict)  # stream -> how far it is
    column_kinds: dict[str, str] = field(default_factory=dict)  # pipelines.ingest.column_kinds
    number: int = 0


def published(root: str) -> Published | None:
    """The newest pointer of the warehouse at ``root``; None before the first publication."""
    path = f"{root}/{TABLE}"
    if not DeltaTable.is_deltatable(path):
        return None
    table = DeltaTable(path)
    numbers = table.get_add_actions(flatten=True).column("max.number").to_pylist()
    if not numbers:
        return None
    rows = table.to_pyarrow_table(filters=[("number", "=", max(numbers))]).to_pylist()
    if len(rows) != 1:
        raise WarehouseError(
            f"{path}: {len(rows)} rows claim to be publication {max(numbers)}; "
            "remove the commit that did not come from a run, then run again"
        )
    return _from_row(rows[0])


def publications(root: str) -> list[Published]:
    """Every publication of the warehouse at ``root``, oldest first."""
    path = f"{root}/{TABLE}"
    if not DeltaTable.is_deltatable(path):
        return []
    rows = DeltaTable(path).to_pyarrow_table().sort_by("number").to_pylist()
    return [_from_row(row) for row in rows]


def require_published(root: str) -> Published:
    """The newest pointer; WarehouseError where nothing was published yet."""
    pointer = published(root)
    if pointer is None:
        raise WarehouseError(
            f"{root}: nothing is published here yet; run jobs/build_sequences.py with "
            f"--warehouse {quote(root)}, and see jobs/status.py for how earlier runs ended"
        )
    return pointer


def move_pointer(root: str, new: Published, expected: Published | None) -> Published:
    """Append ``new`` if the newest pointer is still ``expected``; ``new`` with its number.

    One Delta commit pinned to the version that was checked, without retries: of two writers exactly
    one wins, the other gets SeqloomError and has published nothing.
    """
    path = f"{root}/{TABLE}"
    table = DeltaTable(path) if DeltaTable.is_deltatable(path) else None
    current = published(root)
    if _name(current) != _name(expected):
        raise _lost(root, expected, current)
    number = 0 if current is None else current.number + 1
    numbered = replace(new, number=number, spec=json.loads(json.dumps(new.spec)))
    commit = CommitProperties(custom_metadata={"userMetadata": new.run_id}, max_commit_retries=0)
    rows = pa.Table.from_pylist([_to_row(numbered)], schema=_SCHEMA)
    try:
        if table is None:
            write_deltalake(path, rows, mode="error", commit_properties=commit, configuration=CONFIGURATION)
        else:
            write_deltalake(table, rows, mode="append", schema_mode="merge", commit_properties=commit)
    except (CommitFailedError, DeltaError) as error:
        current = published(root)
        if _name(current) != _name(expected):
            raise _lost(root, expected, current) from error
        raise WarehouseError(f"{path}: the pointer cannot be written: {error}") from error
    return numbered


def _name(pointer: Published | None) -> str:
    return "nothing" if pointer is None else f"publication {pointer.number} of run {pointer.run_id}"


def _lost(root: str, expected: Published | None, current: Published | None) -> SeqloomError:
    return SeqloomError(
        f"{root}: the pointer moved from {_name(expected)} to {_name(current)} while this run worked; "
        "nothing of this run was published: start it again"
    )


def _to_row(pointer: Published) -> dict[str, Any]:
    row = {name: getattr(pointer, name) for name in _SCHEMA.names}
    texts = {
        "spec": json.dumps(pointer.spec),
        "streams": positions_to_json(pointer.streams),
        "column_kinds": json.dumps(pointer.column_kinds, sort_keys=True),
    }
    return row | texts | {"versions": sorted(pointer.versions.items())}


def _from_row(row: dict[str, Any]) -> Published:
    read = {  # an older warehouse's rows lack the newest columns
        "versions": dict(row["versions"]),
        "spec": json.loads(row["spec"]),
        "streams": positions_from_json(row.get("streams")),
        "column_kinds": json.loads(row.get("column_kinds") or "{}"),
    }
    return Published(**(row | read))
