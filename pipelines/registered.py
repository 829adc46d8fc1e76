"""Registered models, and which versions of a warehouse's tables they name.

They are tagged by ``training.registry``: ``seqloom.table_id`` is Delta's own id of the sequence table,
``seqloom.table`` its path as training saw it, ``seqloom.table_version`` its version and
``seqloom.table_versions`` those of the whole publication.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from deltalake import DeltaTable

from pipelines.lock import local_folder

SEQUENCES: Final = "gold/user_sequences"
DATABASE: Final = "mlflow.db"
VARIABLE: Final = "MLFLOW_TRACKING_URI"


@dataclass(frozen=True)
class Registered:
    """A version of a registered model that was fitted on a warehouse's tables."""

    name: str
    version: int
    run_id: str | None  # MLflow's
    as_of: datetime | None  # UTC; of the publication
    versions: Mapping[str, int]  # "layer/name" -> Delta version
    tags: Mapping[str, str]

    @property
    def uri(self) -> str:
        """``models:/NAME/VERSION``."""
        return f"models:/{self.name}/{self.version}"


def tracking_uri(where: str | None) -> str | None:
    """MLflow's tracking URI: ``where`` (or a folder with ``mlflow.db``), else the variable's, else None."""
    asked = where or os.environ.get(VARIABLE)
    if asked and ":" not in asked and asked != "databricks":
        return f"sqlite:///{Path(asked).resolve() / DATABASE}"
    return asked or None


def client_of(uri: str) -> Any:
    """MLflow's client, imported where it is used: that takes seconds."""
    import mlflow  # noqa: PLC0415

    mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient(uri)


def models_of(root: str, client: Any) -> Iterator[Registered]:
    """The registered versions that were fitted on the warehouse at ``root``, however training named it."""
    path = f"{root}/{SEQUENCES}"
    own = str(DeltaTable(path).metadata().id) if DeltaTable.is_deltatable(path) else None
    token = None
    while True:
        page = client.search_model_versions(page_token=token)
        for found in page:
            tags = dict(found.tags)
            if "seqloom.table" in tags and _is_own(tags, path, own):
                yield _registered(found, tags)
        token = page.token
        if not token:
            return


def _is_own(tags: Mapping[str, str], path: str, own: str | None) -> bool:
    """By Delta's id; a model without it may be ours where its path, or the end of ours, is the same."""
    told, named = tags.get("seqloom.table_id"), tags["seqloom.table"]
    if told:
        return told == own
    if "://" in named or Path(named).is_absolute():
        return _resolved(named) == _resolved(path)
    return _resolved(path).endswith(f"/{Path(named)}")  # relative to where training ran


def _registered(found: Any, tags: dict[str, str]) -> Registered:
    versions = {name: int(number) for name, number in json.loads(tags["seqloom.table_versions"]).items()}
    as_of = tags.get("seqloom.as_of")
    moment = None if as_of is None else datetime.fromisoformat(as_of)
    if moment is not None and moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return Registered(
        name=found.name,
        version=int(found.version),
        run_id=found.run_id,
        as_of=moment,
        versions=versions | {SEQUENCES: int(tags["seqloom.table_version"])},
        tags=tags,
    )


def _resolved(path: str) -> str:
    folder = local_folder(path)
    return path.rstrip("/") if folder is None else str(folder.resolve())
