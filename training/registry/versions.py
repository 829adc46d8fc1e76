"""Versions of a registered model, their aliases and tags; never stages."""

from collections.abc import Mapping
from typing import Final

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from training.errors import ConfigError

CHAMPION: Final = "champion"
"""Alias of the version that serves: ``models:/NAME@champion``."""

PREVIOUS: Final = "previous"
"""Alias of the version that a roll-back goes to."""

TAG_CHARACTERS: Final = 5000
"""What MLflow's tables hold of a tag's value or a description; PostgreSQL refuses more."""

_SCHEME: Final = "models:/"


def aliases(client: MlflowClient, name: str) -> dict[str, int]:
    """Alias -> version of a registered model; ConfigError where there is none of that name."""
    try:
        registered = client.get_registered_model(name)
    except MlflowException as error:
        if not _absent(error):
            raise
        raise ConfigError(
            f"no model is registered as {name}; register one with python -m training.registry register "
            f"--run FOLDER --name {name}, or name another tracking server with --tracking"
        ) from None
    return {alias: int(version) for alias, version in registered.aliases.items()}


def champion_of(client: MlflowClient, name: str) -> int | None:
    """The version that serves; None where none does, or nothing is registered under the name."""
    registered = client.search_registered_models(f"name='{name}'")
    return aliases(client, name).get(CHAMPION) if registered else None


def all_versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Every version of a registered model, oldest first; ConfigError where there is none."""
    aliases(client, name)
    found: list[ModelVersion] = []
    token = None
    while token is None or token:
        page = client.search_model_versions(f"name='{name}'", page_token=token)
        found, token = [*found, *page], page.token or ""
    if not found:
        raise ConfigError(f"{name} has no version; register one with python -m training.registry register")
    return sorted(found, key=lambda version: int(version.version))


def find(
    client: MlflowClient, name: str, version: int | None = None, alias: str | None = None
) -> ModelVersion:
    """A version by its number, or by its alias, or else the newest; ConfigError where it is not there."""
    held = all_versions(client, name)
    if alias is not None:
        version = aliases(client, name).get(alias)
        if version is None:
            raise ConfigError(f"{name} has no alias {alias}; promote a version, or name one by its number")
    if version is None:
        return held[-1]
    for one in held:
        if int(one.version) == version:
            return one
    numbers = ", ".join(str(one.version) for one in held)
    raise ConfigError(f"{name} has no version {version}; it has {numbers}")


def parse_uri(uri: str) -> tuple[str, int | None, str | None]:
    """Name, version and alias of a registered model's URI; ConfigError where it is none.

    >>> parse_uri("models:/next-item@champion"), parse_uri("models:/next-item/3")
    (('next-item', None, 'champion'), ('next-item', 3, None))
    """
    rest = uri.removeprefix(_SCHEME)
    name, at, alias = rest.rpartition("@")
    if at and name and alias:
        return name, None, alias
    name, slash, version = rest.rpartition("/")
    if uri.startswith(_SCHEME) and slash and name and version.isdigit():
        return name, int(version), None
    raise ConfigError(f"{uri}: is no registered model; write models:/NAME/VERSION or models:/NAME@ALIAS")


def set_tags(client: MlflowClient, version: ModelVersion, tags: Mapping[str, str]) -> None:
    """Set tags of a version, each cut to what the tables hold."""
    for key, value in tags.items():
        client.set_model_version_tag(version.name, str(version.version), key, cut(value))


def cut(text: str) -> str:
    """The text, or as much of it as MLflow's tables hold.

    >>> cut("x" * 6000)[-10:]
    'xxxxxxxx …'
    """
    return text if len(text) <= TAG_CHARACTERS else text[: TAG_CHARACTERS - 2] + " …"


def _absent(error: MlflowException) -> bool:
    return bool(error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST))
