"""Registered models that were fitted on erased users: found, tagged, and their files searched."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.erasure.derived import USER
from pipelines.erasure.needles import Needles
from pipelines.erasure.scan import scan
from pipelines.old_versions import files_of
from pipelines.registered import SEQUENCES, Registered

COUNT_TAG: Final = "erased_users"
AT_TAG: Final = "erased_at"
EVENTS: Final = "bronze/events"


def models_with(folder: Path, models: Iterable[Registered], users: frozenset[str]) -> dict[str, int]:
    """URI -> how many of the users the model's training publication held, for those that held any.

    Counted in the very version of the sequence table; where it can no longer be read, a user counts who has
    an event before the publication's ``as_of``.
    """
    found = {}
    firsts: dict[str, datetime] | None = None
    for model in models:
        held = users_of(folder / SEQUENCES, model.versions[SEQUENCES], users)
        if held is None:
            firsts = first_events(folder / EVENTS, users) if firsts is None else firsts
            held = {user for user, ts in firsts.items() if model.as_of is None or ts < model.as_of}
        if held:
            found[model.uri] = len(held)
    return found


def users_of(table: Path, version: int, users: frozenset[str]) -> set[str] | None:
    """Which of the users a version of a table holds; None where it can't be read any more."""
    files = files_of(table, version)
    if files is None or not all(file.exists() for file in files):
        return None
    wanted = pa.array(sorted(users), pa.string())
    found: set[str] = set()
    for file in files:
        own = pq.ParquetFile(file).read(columns=[USER]).column(USER).unique()
        found.update(own.filter(pc.is_in(own, value_set=wanted)).to_pylist())
    return found


def first_events(table: Path, users: frozenset[str]) -> dict[str, datetime]:
    """The time of each user's first event."""
    wanted = pa.array(sorted(users), pa.string())
    parts = []
    for file in files_of(table) or ():
        if file.exists():
            rows = pq.ParquetFile(file).read(columns=[USER, "ts"])
            parts.append(rows.filter(pc.is_in(rows.column(USER), value_set=wanted)))
    if not parts:
        return {}
    rows = pa.concat_tables(parts).group_by(USER).aggregate([("ts", "min")])
    times = rows.column("ts_min").cast(pa.timestamp("us", tz="UTC"))  # Spark's Parquet names no zone
    return dict(zip(rows.column(USER).to_pylist(), times.to_pylist(), strict=True))


def tag_models(
    client: Any, models: Iterable[Registered], held: Mapping[str, int], erasure_id: str, now: datetime
) -> None:
    """Tag each model that held erased users with their number over all erasures, and when. Safe to repeat."""
    own = f"{COUNT_TAG}.{erasure_id}"
    for model in models:
        count = held.get(model.uri, 0)
        if not count or int(model.tags.get(own, 0)) >= count:
            continue
        earlier = sum(int(value) for name, value in model.tags.items() if _is_part(name) and name != own)
        for name, value in (
            (own, str(count)),
            (COUNT_TAG, str(earlier + count)),
            (AT_TAG, now.isoformat(timespec="seconds")),
        ):
            client.set_model_version_tag(model.name, str(model.version), name, value)


def artefacts_with(models: Iterable[Registered], needles: Needles) -> Iterator[str]:
    """Where the files of the models and of their runs hold an id, or cannot be read."""
    for model in models:
        addresses = {"model": model.uri} | ({"run": f"runs:/{model.run_id}/"} if model.run_id else {})
        for kind, address in addresses.items():
            with TemporaryDirectory() as place:
                try:
                    folder = _download(address, place)
                except Exception as error:  # whatever its store raises
                    yield f"{model.uri}, {kind}: cannot be read ({type(error).__name__})"
                    continue
                yield from (f"{model.uri}, {kind}: {found}" for found in scan(folder, needles))


def _download(address: str, place: str) -> Path:
    import mlflow  # noqa: PLC0415

    return Path(mlflow.artifacts.download_artifacts(artifact_uri=address, dst_path=place))


def _is_part(name: str) -> bool:
    return name.startswith(f"{COUNT_TAG}.")
