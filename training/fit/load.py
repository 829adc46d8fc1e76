"""Read a TOML file with overrides into a ``Config``, and write one back."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from training.errors import ConfigError
from training.fit.config import Config
from training.fit.explain import Key, explain


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """The validated configuration of a file.

    ``overrides`` are ``section.key=value`` texts; a value is read as TOML and, where it is none, as a
    plain string. Relative paths inside the file are relative to the working directory.

    Raises ConfigError with the file or override, the key and the remedy.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file; pass --config conf/train/NAME.toml") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"{path}: the config file cannot be read: {error.strerror}") from None
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    given = {_apply(plain, override): f"--set {override}" for override in overrides}
    return parse_config(plain, str(path), given)


def parse_config(plain: dict[str, Any], where: str, given: Mapping[Key, str] | None = None) -> Config:
    """Validate a plain mapping; ``where`` names it in errors, ``given`` its keys from elsewhere."""
    try:
        return Config.model_validate(plain)
    except ValidationError as error:
        key, message = explain(error, plain)
    for path, override in (given or {}).items():
        if key and key[: len(path)] == path[: len(key)]:
            raise ConfigError(f"{override}: {message}")
    raise ConfigError(f"{where}: {message}")


def to_toml(config: Config) -> str:
    """The whole configuration as TOML, defaults included; ``load_config`` reads it back."""
    return "\n".join(_lines(config.model_dump(mode="json", exclude_none=True))).strip() + "\n"


def _lines(plain: Mapping[str, Any], above: str = "") -> Iterable[str]:
    for key, value in plain.items():
        if not isinstance(value, dict):
            # JSON's scalars and flat lists are TOML's, but for surrogate pairs and DEL
            text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
            yield f"{key} = {text}"
    for key, value in plain.items():
        if isinstance(value, dict):
            yield f"\n[{above}{key}]"
            yield from _lines(value, f"{above}{key}.")


def _apply(plain: dict[str, Any], override: str) -> Key:
    """Set the value in place; the key's path comes back."""
    key, equals, text = override.partition("=")
    path = tuple(name.strip() for name in key.split("."))
    if not equals or not all(path):
        raise ConfigError(f"--set {override}: write section.key=value, such as training.steps=200")
    section = plain
    for place, name in enumerate(path[:-1], start=1):
        section = section.setdefault(name, {})
        if not isinstance(section, dict):
            raise ConfigError(f"--set {override}: {'.'.join(path[:place])} is a value, not a section")
    section[path[-1]] = _read(text.strip())
    return path


def _read(text: str) -> Any:
    """A TOML value, or the text itself where it is none."""
    try:
        found = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return found["value"] if len(found) == 1 else text
