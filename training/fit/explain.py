"""What is wrong with a configuration, in one line that names the key and the remedy."""

import difflib
import types
from collections.abc import Iterator
from dataclasses import dataclass
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


def explain(error: ValidationError, plain: dict[str, Any], root: type[BaseModel] = Config) -> tuple[Key, str]:
    """The key at fault and what to do; ``plain`` was validated as a ``root``.

    An unknown key comes before what is missing for want of it.
    """
    tree = _Tree(root, plain)
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    first = faults[0]
    key = tree.key(first["loc"])
    dotted = ".".join(key)
    if first["type"] == "extra_forbidden":
        return key, f"unknown key {dotted}; {tree.suggestion(key)}"
    if first["type"] == "missing":
        what = f"section [{dotted}]" if _sections(tree.type_at(key)) else f"key {dotted}"
        return key, f"missing {what}; add it to the config"
    if first["type"] in _SECTION:
        return key, f"{dotted} is a section, not a value; write [{dotted}] and its keys below it"
    if first["type"].startswith("union_tag"):
        return (*key, "name"), tree.which_model(key)
    # a key that may be of several types has a fault for each
    same = [fault for fault in faults if tree.key(fault["loc"]) == key]
    musts = [_MUST[f["type"]].format(**f.get("ctx", {})) for f in same if f["type"] in _MUST]
    message = first["msg"].removeprefix("Value error, ")
    if musts:
        message = f"must be {' or '.join(dict.fromkeys(musts))}"
    given = first.get("input")
    if isinstance(given, str | int | float) and repr(given) not in message:
        message += f", not {str(given).lower() if isinstance(given, bool) else repr(given)}"
    return key, f"{dotted}: {message}" if dotted else message


@dataclass(frozen=True)
class _Tree:
    """A plain mapping beside the sections that it was to be."""

    root: type[BaseModel]
    plain: Any

    def value_at(self, key: Key) -> Any:
        value = self.plain
        for name in key:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def type_at(self, key: Key) -> Any:
        """The annotation of a key; None for an unknown one."""
        kind: Any = self.root
        for depth, name in enumerate(key):
            section = self._chosen(kind, key[:depth])
            field = section.model_fields.get(name) if section else None
            kind = field.annotation if field else _values(kind)
        return kind

    def section_at(self, key: Key) -> type[BaseModel] | None:
        """The section at a key, the one that its ``name`` chooses where there are several."""
        return self._chosen(self.type_at(key), key)

    def _chosen(self, kind: Any, key: Key) -> type[BaseModel] | None:
        sections = _sections(kind)
        if len(sections) > 1:
            value = self.value_at(key)
            name = value.get("name") if isinstance(value, dict) else None
            sections = [section for section in sections if name in _names(section)]
        return sections[0] if sections else None

    def key(self, location: tuple[int | str, ...]) -> Key:
        """The key that pydantic's location means, less the tags that it puts in for unions."""
        key: list[str] = []
        for part in location:
            kind = self.type_at(tuple(key))
            section = self._chosen(kind, tuple(key))
            if isinstance(part, int):
                key[-1] += f"[{part}]"
            elif (section is not None and (not key or part not in _names(section))) or (
                section is None and _values(kind) is not None and part != "[key]"
            ):
                key.append(part)
        return tuple(key)

    def which_model(self, key: Key) -> str:
        """That no model has the name that was given, or none was given."""
        known = [name for section in _sections(self.type_at(key)) for name in _names(section)]
        value, dotted = self.value_at(key), ".".join((*key, "name"))
        given = value.get("name") if isinstance(value, dict) else None
        if given is None:
            return f"missing key {dotted}; one of {', '.join(known)}"
        near = difflib.get_close_matches(str(given), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(known)}"
        return f"{dotted}: no model is called {given!r}; {hint}"

    def suggestion(self, key: Key) -> str:
        """The place where a key of this name belongs, else the nearest key of the same section."""
        section = self.section_at(key[:-1])
        known = sorted(section.model_fields) if section else []
        elsewhere = [path for path in self._paths() if path[-1] == key[-1]]
        if elsewhere:
            above = ", above the first [section]" if len(elsewhere[0]) == 1 else ""
            return f"did you mean {'.'.join(elsewhere[0])}{above}?"
        near = difflib.get_close_matches(key[-1], known, n=1, cutoff=0.6)
        if near:
            return f"did you mean {'.'.join((*key[:-1], near[0]))}?"
        return f"known keys: {', '.join(known)}"

    def _paths(self, above: Key = ()) -> Iterator[Key]:
        section = self.section_at(above)
        for name in section.model_fields if section else ():
            yield (*above, name)
            yield from self._paths((*above, name))


def _names(section: type[BaseModel]) -> tuple[str, ...]:
    """The names that choose a section among several, none where it stands alone."""
    field = section.model_fields.get("name")
    return get_args(field.annotation) if field else ()


def _sections(kind: Any) -> list[type[BaseModel]]:
    """The sections that a key may hold, none for a plain value."""
    if get_origin(kind) in (Annotated, Union, types.UnionType):
        return [section for part in get_args(kind) for section in _sections(part)]
    return [kind] if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _values(kind: Any) -> Any:
    """What the values of a table with free keys are; None for anything else."""
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    if get_origin(kind) in (Annotated, Union, types.UnionType):
        return next((found for part in get_args(kind) if (found := _values(part)) is not None), None)
    return None
