"""``ops/erasures``: what every erasure did, with keyed hashes instead of ids."""

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake

TABLE: Final = "ops/erasures"
SHOWN_PLACES: Final = 1000

_CONFIGURATION: Final = {"delta.dataSkippingStatsColumns": "at"}
_SCHEMA: Final = pa.schema(
    [
        pa.field("erasure_id", pa.string(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("users", pa.list_(pa.string()), nullable=False),
        pa.field("users_found", pa.int64(), nullable=False),
        pa.field("rows_removed", pa.map_(pa.string(), pa.int64())),
        pa.field("versions_before", pa.map_(pa.string(), pa.int64())),
        pa.field("versions_after", pa.map_(pa.string(), pa.int64())),
        pa.field("models", pa.map_(pa.string(), pa.int64())),
        pa.field("places_before", pa.int64(), nullable=False),
        pa.field("places_after", pa.list_(pa.string())),
        pa.field("proven", pa.bool_()),
        pa.field("sequence_versions", pa.map_(pa.int64(), pa.int64())),
    ]
)
_MAPS: Final = [field.name for field in _SCHEMA if pa.types.is_map(field.type)]


@dataclass(frozen=True)
class Receipt:
    """One row: an erasure that has begun, or one that is done."""

    erasure_id: str  # of the set of users
    run_id: str
    status: Literal["begun", "done"]
    at: datetime  # UTC
    users: list[str]  # keyed hashes
    users_found: int
    rows_removed: dict[str, int] = field(default_factory=dict)  # table -> rows
    versions_before: dict[str, int] = field(default_factory=dict)
    versions_after: dict[str, int] = field(default_factory=dict)
    models: dict[str, int] = field(default_factory=dict)  # URI -> users that its publication held
    places_before: int = 0
    places_after: list[str] = field(default_factory=list)  # in files of the warehouse and of models
    proven: bool | None = None  # None while it has only begun
    sequence_versions: dict[int, int] = field(default_factory=dict)  # of gold/user_sequences -> users it held

    def to_plain(self) -> dict[str, Any]:
        """As plain values, for the summary."""
        plain = asdict(self) | {"at": self.at.isoformat()}
        result: dict[str, Any] = json.loads(json.dumps(plain))
        return result


def write_receipt(root: str, receipt: Receipt) -> None:
    """Append a receipt."""
    row = asdict(receipt)
    maps = {name: sorted(value.items()) for name, value in row.items() if isinstance(value, dict)}
    rows = pa.Table.from_pylist([row | maps], schema=_SCHEMA)
    commit = CommitProperties(custom_metadata={"userMetadata": receipt.run_id})
    path = f"{root}/{TABLE}"
    write_deltalake(
        path,
        rows,
        mode="append",
        schema_mode="merge",  # a table of before a column was added
        commit_properties=commit,
        configuration=_CONFIGURATION,
    )


def last_receipt(root: str, erasure_id: str) -> Receipt | None:
    """The newest receipt of an erasure of the very same users; None where there is none."""
    path = f"{root}/{TABLE}"
    if not DeltaTable.is_deltatable(path):
        return None
    found = DeltaTable(path).to_pyarrow_table(filters=[("erasure_id", "=", erasure_id)]).to_pylist()
    if not found:
        return None
    newest = max(found, key=lambda one: (one["at"], one["status"] == "done"))
    row = {name: newest.get(name) for name in _SCHEMA.names}  # an older table has no column of later ones
    return Receipt(**(row | {name: dict(row[name] or ()) for name in _MAPS}))
