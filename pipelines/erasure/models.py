"""Registered models that were fitted on erased users: found, tagged, and their files searched."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.erasure.derived import USER
from pipelines.erasure.needles import Needles
from pipelines.erasure.scan import scan
from pipelines.old_versions import files_of, live_files
from pipelines.pointer import Published
from pipelines.registered import SEQUENCES, Registered

COUNT_TAG: Final = "erased_users"
AT_TAG: Final = "erased_at"
EVENTS: Final = "bronze/events"


class Holders:
    """Which of the users versions of the sequence table held; each file is read once."""

    def __init__(self, folder: Path, users: frozenset[str]) -> None:
        self._folder = folder
        self._users = users
        self._by_file: dict[Path, set[str]] = {}

    def of(self, version: int, as_of: datetime | None) -> set[str]:
        """The users that a version held.

        Where it can no longer be read, a user counts who has an event before ``as_of``, the publication's.
        """
        files = files_of(self._folder / SEQUENCES, version)
        if files is None or not all(file.exists() for file in files):
            return {user for user, ts in self._firsts.items() if as_of is None or ts < as_of}
        return {user for file in files for user in self._of_file(file)}

    def _of_file(self, file: Path) -> set[str]:
        if file not in self._by_file:
            wanted = pa.array(sorted(self._users), pa.string())
            own = pq.ParquetFile(file).read(columns=[USER]).column(USER).unique()
            self._by_file[file] = set(own.filter(pc.is_in(own, value_set=wanted)).to_pylist())
        return self._by_file[file]

    @cached_property
    def _firsts(self) -> dict[str, datetime]:
        return first_events(self._folder / EVENTS, self._users)


def models_with(holders: Holders, models: Iterable[Registered]) -> dict[str, int]:
    """URI -> how many of the users the model's training publication held, for those that held any."""
    found = {model.uri: len(holders.of(model.versions[SEQUENCES], model.as_of)) for model in models}
    return {uri: count for uri, count in found.items() if count}


def versions_with(holders: Holders, publications: Iterable[Published]) -> dict[int, int]:
    """Version of the sequence table -> how many of the users it held, for published ones that held any."""
    times = {one.versions[SEQUENCES]: one.as_of for one in publications if SEQUENCES in one.versions}
    found = {version: len(holders.of(version, as_of)) for version, as_of in times.items()}
    return {version: count for version, count in found.items() if count}


def models_naming(models: Iterable[Registered], versions: Mapping[int, int]) -> dict[str, int]:
    """URI -> users of the version of the sequence table that the model was fitted on, for those listed."""
    return {
        model.uri: versions[model.versions[SEQUENCES]]
        for model in models
        if model.versions[SEQUENCES] in versions
    }


def first_events(table: Path, users: frozenset[str]) -> dict[str, datetime]:
    """The time of each user's first event."""
    wanted = pa.array(sorted(users), pa.string())
    parts = []
    for file in live_files(table):
        if file.exists():
            rows = pq.ParquetFile(file).read(columns=[USER, "ts"])
            parts.append(rows.filter(pc.is_in(rows.column(USER), value_set=wanted)))
    if not parts:
        return {}
    rows = pa.concat_tables(parts).group_by(USER).aggregate([("ts", "min")])
    times = rows.column("ts_min").cast(pa.timestamp("us", tz="UTC"))  # Spark's Parquet names no zone
    return dict(zip(rows.column(USER).to_pylist(), times.to_pylist(), strict=True))


def untagged(models: Iterable[Registered], held: Mapping[str, int], erasure_id: str) -> list[Registered]:
    """The models that held erased users and have no tag of this erasure yet, or one of fewer users."""
    own = _part(erasure_id)
    return [model for model in models if int(model.tags.get(own, 0)) < held.get(model.uri, 0)]


def tag_models(
    client: Any, models: Iterable[Registered], held: Mapping[str, int], erasure_id: str, now: datetime
) -> None:
    """Tag each model that held erased users with their number over all erasures, and when. Safe to repeat."""
    own = _part(erasure_id)
    for model in untagged(models, held, erasure_id):
        count = held[model.uri]
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


def _part(erasure_id: str) -> str:
    return f"{COUNT_TAG}.{erasure_id}"


def _is_part(name: str) -> bool:
    return name.startswith(_part(""))
