"""Read a TOML file with overrides into a ``Config``, or say in one line what is wrong with it."""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pipelines.config.model import Config
from pipelines.errors import ConfigError


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """The validated configuration of a file.

    ``overrides`` are ``section.key=value`` texts; a value is read as TOML and, where it is none, as
    a plain string. Relative paths inside the file stay relative to the working directory.

    Raises ConfigError with the file, the key and the remedy.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file; pass --config conf/NAME.toml") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the config file cannot be read: {error}") from None
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    for override in overrides:
        _apply(plain, override)
    return parse_config(plain, str(path))


def parse_config(plain: Mapping[str, Any], where: str) -> Config:
    """Validate a plain mapping; ``where`` names it in errors."""
    try:
        return Config.model_validate(plain)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(error)}") from None


def _apply(plain: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise ConfigError(f"--set {override}: write section.key=value, such as sessions.gap=30min")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    section = plain
    for name in path[:-1]:
        section = section.setdefault(name, {})
        if not isinstance(section, dict):
            raise ConfigError(f"--set {override}: {name} is a value, not a section")
    section[path[-1]] = value


def _explain(error: ValidationError) -> str:
    """The first fault of a validation error as one line, with the nearest known key."""
    fault = error.errors()[0]
    location = [str(part) for part in fault["loc"]]
    key = ".".join(location)
    if fault["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(sorted(known))}"
        return f"unknown key {key}; {hint}"
    if fault["type"] == "missing":
        return f"missing key {key}; add it to the config"
    message = fault["msg"].removeprefix("Value error, ")
    if not key:
        return message
    given = fault.get("input")
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool) else ""
    return f"{key}: {message}{shown}"


def _known_keys(location: list[str]) -> list[str]:
    model: type[BaseModel] = Config
    for name in location:
        field = model.model_fields.get(name)
        if field is None:
            return []
        for candidate in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
                break
    return list(model.model_fields)
