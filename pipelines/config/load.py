"""Read a TOML file with overrides into a ``Config``, or say in one line what is wrong with it."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipelines.config.explain import explain
from pipelines.config.model import Config
from pipelines.errors import ConfigError


def load_config(
    path: str | Path, overrides: Iterable[str] = (), values: Mapping[str, str] | None = None
) -> Config:
    """The validated configuration of a file.

    ``overrides`` are ``section.key=value`` texts; a value is read as TOML and, where it is none, as
    a plain string; ``values`` are texts taken as they are. Relative paths inside the file stay relative
    to the working directory.

    Raises ConfigError with the file or override, the key and the remedy.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file; pass --config conf/NAME.toml") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"{path}: the config file cannot be read: {error.strerror}") from None
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    where = {_apply(plain, override): f"--set {override}" for override in overrides}
    for key, value in (values or {}).items():
        _put(plain, tuple(key.split(".")), value, key)
    return parse_config(plain, str(path), where)


def parse_config(
    plain: Mapping[str, Any], where: str, overrides: Mapping[tuple[str, ...], str] | None = None
) -> Config:
    """Validate a plain mapping; ``where`` names it in errors, ``overrides`` its keys from elsewhere."""
    try:
        return Config.model_validate(plain)
    except ValidationError as error:
        fault = explain(error)
    for path, override in (overrides or {}).items():
        if fault.key and fault.key[: len(path)] == path[: len(fault.key)]:
            raise ConfigError(f"{override}: {fault}")
    raise ConfigError(f"{where}: {fault}")


def _apply(plain: dict[str, Any], override: str) -> tuple[str, ...]:
    """Set the value in place; the key's path comes back."""
    key, equals, text = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise ConfigError(f"--set {override}: write section.key=value, such as sessions.gap=30min")
    if path[:2] == ("spark", "settings"):  # Spark's own keys hold dots, and their values are text
        path, value = (*path[:2], ".".join(path[2:])), text.strip("\"'")
    else:
        value = _read(text)
    _put(plain, path, value, f"--set {override}")
    return path


def _put(plain: dict[str, Any], path: tuple[str, ...], value: Any, where: str) -> None:
    section = plain
    for place, name in enumerate(path[:-1], start=1):
        section = section.setdefault(name, {})
        if not isinstance(section, dict):
            raise ConfigError(f"{where}: {'.'.join(path[:place])} is a value, not a section")
    section[path[-1]] = value


def _read(text: str) -> Any:
    """A TOML value, or the text itself where it is none."""
    try:
        found = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return found["value"] if len(found) == 1 else text
