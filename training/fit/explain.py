"""What is wrong with a configuration, in one line that names the key and the remedy."""

import difflib
import types
from collections.abc import Iterator
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from training.fit.config import Config

_MUST: Final = {
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "tuple_type": "a list",
    "literal_error": "{expected}",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
}
_SECTION: Final = ("model_type", "model_attributes_type", "dict_type")

Key = tuple[str, ...]


def explain(error: ValidationError, plain: dict[str, Any]) -> tuple[Key, str]:
    """The key at fault and what to do; ``plain`` is what was validated.

    An unknown key comes before what is missing for want of it.
    """
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    first = faults[0]
    key = _key(first["loc"], plain)
    dotted = ".".join(key)
    if first["type"] == "extra_forbidden":
        return key, f"unknown key {dotted}; {_suggest(key, plain)}"
    if first["type"] == "missing":
        what = f"section [{dotted}]" if _sections(_type_at(key, plain)) else f"key {dotted}"
        return key, f"missing {what}; add it to the config"
    if first["type"] in _SECTION:
        return key, f"{dotted} is a section, not a value; write [{dotted}] and its keys below it"
    if first["type"].startswith("union_tag"):
        return (*key, "name"), _which_model(key, plain)
    # a key that may be of several types has a fault for each
    same = [fault for fault in faults if _key(fault["loc"], plain) == key]
    musts = [_MUST[f["type"]].format(**f.get("ctx", {})) for f in same if f["type"] in _MUST]
    message = first["msg"].removeprefix("Value error, ")
    if musts:
        message = f"must be {' or '.join(dict.fromkeys(musts))}"
    given = first.get("input")
    if isinstance(given, str | int | float) and repr(given) not in message:
        message += f", not {str(given).lower() if isinstance(given, bool) else repr(given)}"
    return key, f"{dotted}: {message}" if dotted else message


def _which_model(key: Key, plain: dict[str, Any]) -> str:
    known = [_name(section) for section in _sections(Config.model_fields[key[0]].annotation)]
    section = plain.get(key[0])
    given = section.get("name") if isinstance(section, dict) else None
    if given is None:
        return f"missing key {key[0]}.name; one of {', '.join(known)}"
    near = difflib.get_close_matches(str(given), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(known)}"
    return f"{key[0]}.name: no model is called {given!r}; {hint}"


def _name(section: type[BaseModel]) -> str:
    name: str = get_args(section.model_fields["name"].annotation)[0]
    return name


def _sections(kind: Any) -> list[type[BaseModel]]:
    """The sections that a key may hold, none for a plain value."""
    if get_origin(kind) in (Annotated, Union, types.UnionType):
        return [section for part in get_args(kind) for section in _sections(part)]
    return [kind] if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _section_at(key: Key, plain: Any) -> type[BaseModel] | None:
    """The section at a key, the one that its ``name`` chooses where there are several."""
    kinds: list[type[BaseModel]] = [Config]
    for name in key:
        plain = plain.get(name) if isinstance(plain, dict) else None
        field = kinds[0].model_fields.get(name) if kinds else None
        kinds = _sections(field.annotation) if field else []
        if len(kinds) > 1:
            chosen = plain.get("name") if isinstance(plain, dict) else None
            kinds = [kind for kind in kinds if _name(kind) == chosen]
    return kinds[0] if kinds else None


def _type_at(key: Key, plain: Any) -> Any:
    above = _section_at(key[:-1], plain)
    return above.model_fields[key[-1]].annotation if above and key[-1] in above.model_fields else None


def _key(location: tuple[int | str, ...], plain: Any) -> Key:
    """The key that pydantic's location means, less the tags that it puts in for unions."""
    key: list[str] = []
    inside = True
    for part in location:
        section = _section_at(tuple(key), plain) if inside else None
        if isinstance(part, int):
            key[-1] += f"[{part}]"
        elif section is not None and not (key and "name" in section.model_fields and part == _name(section)):
            key.append(part)
            inside = part in section.model_fields
    return tuple(key)


def _suggest(key: Key, plain: Any) -> str:
    """The nearest key of the same section, else the place where a key of this name belongs."""
    section = _section_at(key[:-1], plain)
    known = sorted(section.model_fields) if section else []
    near = difflib.get_close_matches(key[-1], known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {'.'.join((*key[:-1], near[0]))}?"
    elsewhere = [path for path in _paths(plain) if path[-1] == key[-1]]
    if elsewhere:
        above = ", above the first [section]" if len(elsewhere[0]) == 1 else ""
        return f"did you mean {'.'.join(elsewhere[0])}{above}?"
    return f"known keys: {', '.join(known)}"


def _paths(plain: Any, above: Key = ()) -> Iterator[Key]:
    section = _section_at(above, plain)
    for name in section.model_fields if section else ():
        yield (*above, name)
        yield from _paths(plain, (*above, name))
