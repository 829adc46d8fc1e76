"""Which settings shape the tables, so that a warehouse is never continued with other ones."""

import hashlib
import json
from typing import Any, Final

from features.raw import DERIVED_KEY
from pipelines.config.model import Config
from pipelines.errors import WarehouseError
from pipelines.pointer import Published

_SHAPING_SECTIONS: Final = (
    "sessions",
    "users",
    "fit",
    "embeddings",
    "themes",
    "hops",
    "sequences",
)
_SHAPING_SOURCE: Final = ("columns", "ts_unit", "clock", "event_types", "unlisted_event_type", "window")
"""Not the path or the file format: tomorrow's events may come as Parquet. Nor ``[ingest]``, which decides
about events to come."""

OPTIONAL_COLUMNS: Final = ("category_id", "event_type", "sequence", "session_key")
"""Source columns that may be mapped later on: events taken in before stay without. An ``event_id`` may not,
since it is what an event is known by, nor a part of ``DERIVED_KEY`` where ids are derived: an event that is
read again would come under another id, and count twice."""

_SHOWN_DIFFERENCES: Final = 3


def table_settings(config: Config) -> dict[str, Any]:
    """The settings that shape the tables, as plain JSON values (not paths, gates or Spark's)."""
    plain = config.model_dump(mode="json")
    settings: dict[str, Any] = {name: plain[name] for name in _SHAPING_SECTIONS}
    settings["source"] = {name: plain["source"][name] for name in _SHAPING_SOURCE}
    items = plain["items"]
    settings["items"] = items and {name: items[name] for name in ("item_id", "category_id")}
    return settings


def settings_json(config: Config) -> str:
    """Canonical JSON of ``table_settings``; what ``Published.settings`` holds."""
    return json.dumps(table_settings(config), sort_keys=True)


def fingerprint(config: Config) -> str:
    """A short name of the table-shaping settings: 16 hex digits of their SHA-256 (our choice)."""
    return hashlib.sha256(settings_json(config).encode()).hexdigest()[:16]


def explain_difference(old_settings: str, config: Config) -> str:
    """Which keys differ between published settings and this config; '' where none does."""
    old, new = _flat(json.loads(old_settings)), _flat(table_settings(config))
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    shown = keys[:_SHOWN_DIFFERENCES]
    told = [f"{key} = {_shown(old, key)}, this config says {_shown(new, key)}" for key in shown]
    if len(keys) > _SHOWN_DIFFERENCES:
        told.append(f"{len(keys) - _SHOWN_DIFFERENCES} more differ")
    return "; ".join(told)


def require_same_settings(root: str, pointer: Published | None, config: Config) -> None:
    """WarehouseError that names the differing keys, unless the tables may go on with this config.

    They may with a further column or event type of the source (``may_grow``).
    """
    if pointer is None or pointer.config_fingerprint == fingerprint(config):
        return
    difference = explain_difference(pointer.settings, config)
    if difference and not may_grow(pointer.settings, config):
        raise WarehouseError(
            f"warehouse {root} was published with {difference}; {_renamed(pointer.settings, config)}"
            "use --full-refresh to rebuild it, or another --warehouse"
        )


def may_grow(old_settings: str, config: Config) -> bool:
    """Whether the config differs by nothing but source columns and event types that were not mapped before.

    An event type only where unlisted ones were refused: otherwise its events so far would mean another thing.
    """
    old, new = _flat(json.loads(old_settings)), _flat(table_settings(config))
    refused = old.get("source.unlisted_event_type") == "reject"
    untyped = old.get("source.columns.event_type") is None
    columns = {f"source.columns.{name}" for name in OPTIONAL_COLUMNS} - _parts_of_ids(old)
    for name in old.keys() | new.keys():
        if old.get(name) == new.get(name) or (name == "source.event_types" and not old.get(name)):
            continue
        is_type = name.startswith("source.event_types.") and (refused or untyped)
        if old.get(name) is not None or not (is_type or name in columns):
            return False
    return True


def _parts_of_ids(settings: dict[str, Any]) -> set[str]:
    """Flat keys of the optional columns that event ids are made of; none where the source gives ids."""
    derived = settings.get("source.columns.event_id") is None
    return {f"source.columns.{name}" for name in OPTIONAL_COLUMNS if derived and name in DERIVED_KEY}


def _renamed(old_settings: str, config: Config) -> str:
    """Why a column may not be mapped later, where that would give events other ids; else ''."""
    old, new = _flat(json.loads(old_settings)), _flat(table_settings(config))
    parts = [name for name in sorted(_parts_of_ids(old)) if old.get(name) != new.get(name)]
    names = ", ".join(parts)
    return names and f"event ids are derived from {names}, so that events read again would count twice; "


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{prefix}.{key}" if prefix else key)
    return flat


def _shown(flat: dict[str, Any], key: str) -> str:
    value = flat.get(key)
    return "unset" if value is None else str(value)
