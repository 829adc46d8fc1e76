"""What is wrong with a configuration, in one line that names the key and the remedy."""

import difflib
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from pipelines.config.model import Config

_MUST: Final = {
    "string_type": "text in quotes",
    "finite_number": "a finite number",
    "string_too_short": "text that is not empty",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "tuple_type": "a list, such as [16, 64]",
    "literal_error": "{expected}",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
}
_SECTION: Final = ("model_type", "model_attributes_type", "dict_type")


@dataclass(frozen=True)
class Fault:
    """The key at fault, from the outermost section in, empty where keys contradict each other."""

    key: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        return self.message


def explain(error: ValidationError) -> Fault:
    """The first fault of a validation error; an unknown key comes before what is missing for want of it."""
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    first = faults[0]
    key, kind = _locate(first["loc"])
    dotted = ".".join(key)
    if first["type"] == "extra_forbidden" or "[key]" in first["loc"]:
        return Fault(key, f"unknown key {dotted}; {_suggest(key)}")
    if first["type"] == "missing":
        what = f"section [{dotted}]" if _children(kind) is not None else f"key {dotted}"
        return Fault(key, f"missing {what}; add it to the config")
    if first["type"] in _SECTION:
        return Fault(key, f"{dotted} is a section, not a value; write [{dotted}] and its keys below it")
    # a key that may be of several types has a fault for each
    musts = [must for fault in faults if _locate(fault["loc"])[0] == key and (must := _must(fault))]
    message = first["msg"].removeprefix("Value error, ")
    if musts:
        message = f"must be {' or '.join(dict.fromkeys(musts))}"
    given = first.get("input")
    if isinstance(given, str | int | float) and repr(given) not in message:
        message += f", not {_toml(given)}"
    if first["type"] == "string_type" and isinstance(example := _default(key), str):
        message += f'; such as {key[-1]} = "{example}"'
    if isinstance(given, dict) and key[:2] == ("spark", "settings"):
        message += '; a dot made it a section: quote the whole key, as in "spark.sql.ansi.enabled" = "true"'
    return Fault(key, f"{dotted}: {message}" if dotted else message)


def _default(key: tuple[str, ...]) -> Any:
    value = Config.model_fields[key[0]].default
    for name in key[1:]:
        value = getattr(value, name, None)
    return value


def _must(fault: Any) -> str | None:
    text = _MUST.get(fault["type"])
    return text.format(**fault.get("ctx", {})) if text else None


def _toml(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _children(kind: Any) -> Mapping[str, Any] | None:
    """Keys of a section and the types of their values, ``*`` for a free key; None for a plain value."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _children(get_args(kind)[0])
    if origin is Union or origin is types.UnionType:
        return next((found for part in get_args(kind) if (found := _children(part)) is not None), None)
    if origin is dict:
        names, value = get_args(kind)
        return dict.fromkeys(get_args(names) if get_origin(names) is Literal else ("*",), value)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    return None


def _locate(location: tuple[int | str, ...]) -> tuple[tuple[str, ...], Any]:
    """The key that pydantic's location means, less the tags that it puts in for unions, and its type."""
    key: list[str] = []
    kind: Any = Config
    for part in location:
        children = _children(kind)
        if isinstance(part, int):
            key[-1] += f"[{part}]"
        elif children is not None and part != "[key]":
            key.append(part)
            kind = children.get(part, children.get("*"))
    return tuple(key), kind


def _suggest(key: tuple[str, ...]) -> str:
    """The nearest key of the same section, else the place where a key of this name belongs."""
    kind: Any = Config
    for name in key[:-1]:
        kind = (_children(kind) or {}).get(name)
    known = list(_children(kind) or {})
    near = difflib.get_close_matches(key[-1], known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {'.'.join((*key[:-1], near[0]))}?"
    elsewhere = [path for path in _paths(Config) if path[-1] == key[-1]]
    if elsewhere:
        above = ", above the first [section]" if len(elsewhere[0]) == 1 else ""
        return f"did you mean {'.'.join(elsewhere[0])}{above}?"
    return f"known keys: {', '.join(sorted(known))}"


def _paths(kind: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, child in (_children(kind) or {}).items():
        yield (*above, name)
        yield from _paths(child, (*above, name))
