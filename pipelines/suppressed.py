"""``ops/suppressed``: who was erased and must not come back, as keyed hashes; needs no JVM.

A hash is HMAC-SHA256(key, user id): without the key nobody can try ids against the list. The key is the
text of SEQLOOM_ERASURE_KEY, else of ``ops/_erasure_key``, which is made at first use and readable by its
owner alone.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake

from pipelines.errors import WarehouseError
from pipelines.lock import local_folder

TABLE: Final = "ops/suppressed"
KEY_FILE: Final = "ops/_erasure_key"
KEY_VARIABLE: Final = "SEQLOOM_ERASURE_KEY"

_CHECKED: Final = "seqloom erasure key"
_CONFIGURATION: Final = {"delta.dataSkippingStatsColumns": "suppressed_at"}
_SCHEMA: Final = pa.schema(
    [
        pa.field("hash", pa.string(), nullable=False),  # of the user id, 64 hex digits
        pa.field("key_id", pa.string(), nullable=False),  # which key made it
        pa.field("suppressed_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)


@dataclass(frozen=True)
class Key:
    """The key of a warehouse's hashes."""

    secret: bytes

    def hash(self, user_id: str) -> str:
        """HMAC-SHA256 of an id, in hex."""
        return hmac.new(self.secret, user_id.encode(), hashlib.sha256).hexdigest()

    @property
    def name(self) -> str:
        """By which hashes of this key are told from those of another."""
        return self.hash(_CHECKED)[:16]


@dataclass(frozen=True)
class Suppressed:
    """The hashes of erased users, and the key that made them."""

    key: Key
    hashes: frozenset[str]


def suppressed(root: str) -> Suppressed | None:
    """The list of the warehouse at ``root``; None where nobody was erased.

    Raises WarehouseError where its key is missing, or another one: nobody would be kept out.
    """
    path = f"{root}/{TABLE}"
    if not DeltaTable.is_deltatable(path):
        return None
    rows = DeltaTable(path).to_pyarrow_table()
    if not rows.num_rows:
        return None
    key = erasure_key(root)
    made_by = set(rows.column("key_id").to_pylist())
    if key is None or made_by != {key.name}:
        raise WarehouseError(
            f"{path}: these users were suppressed with another key than that of {_where(root)}; bring the "
            f"key back from a backup, or set {KEY_VARIABLE}: without it they would come back"
        )
    return Suppressed(key, frozenset(rows.column("hash").to_pylist()))


def suppress(root: str, users: Iterable[str], now: datetime, run_id: str) -> Key:
    """Add the users that the list lacks; the key. Safe to repeat."""
    held = suppressed(root)
    key = held.key if held else erasure_key(root) or _make_key(root)
    known = held.hashes if held else frozenset()
    new = sorted({key.hash(user) for user in users} - known)
    if new:
        rows = [{"hash": one, "key_id": key.name, "suppressed_at": now} for one in new]
        write_deltalake(
            f"{root}/{TABLE}",
            pa.Table.from_pylist(rows, schema=_SCHEMA),
            mode="append",
            commit_properties=CommitProperties(custom_metadata={"userMetadata": run_id}),
            configuration=_CONFIGURATION,
        )
    return key


def erasure_key(root: str) -> Key | None:
    """The warehouse's key; None where it has none yet."""
    given = os.environ.get(KEY_VARIABLE)
    if given:
        return Key(given.encode())
    file = _key_file(root)
    if file is None or not file.exists():
        return None
    return Key(file.read_text().strip().encode())


def _make_key(root: str) -> Key:
    file = _key_file(root)
    if file is None:
        raise WarehouseError(f"{root}: a key cannot be kept in a file here; set {KEY_VARIABLE}")
    file.parent.mkdir(parents=True, exist_ok=True)
    secret = secrets.token_hex(32)
    fresh = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(secret)
    fresh.replace(file)
    return Key(secret.encode())


def _key_file(root: str) -> Path | None:
    folder = local_folder(root)
    return None if folder is None else folder / KEY_FILE


def _where(root: str) -> str:
    return KEY_VARIABLE if os.environ.get(KEY_VARIABLE) else f"{root}/{KEY_FILE}"
