"""Ids to look for, and where a piece of text holds one.

An id stands in a text as a token: no letter, digit or underscore touches it. An id that is a whole number of
up to 18 digits is no proof by itself, since sizes, versions and item ids are numbers too. It counts where a
column or key says that it names a user, in a refused payload, as the whole value of a text column that names
nothing else, and in a text behind the word "user".
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(r"\w+")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_USER_BEFORE: Final = re.compile(r"users?(?:[_ ]?ids?)?\W{0,12}$", re.IGNORECASE)
_LOOK_BACK: Final = 32  # characters in which the word "user" is looked for

NAMES_USERS: Final = frozenset(("user_id", "user_ids", "userid", "user", "uid"))
"""Columns and keys whose values are users."""

PAYLOADS: Final = frozenset(("raw",))
"""Columns and keys whose values are records that were refused: anything may stand in them."""

NAMES_OTHERS: Final = frozenset(
    (
        "item_id", "items", "category_id", "event_type", "id", "event_id", "session_id", "session_key",
        "kind", "tail__event_id", "tail__session_key", "batch_id", "run_id", "fit_id", "model", "key",
        "value", "day",
    )
)  # fmt: skip
"""Columns whose values name other things, or anything: a number there is no user."""


class Mode(Enum):
    """What counts as an id in a place."""

    USER = "the whole value"
    PAYLOAD = "any token"
    VALUE = "a token; a number only as the whole value"
    TEXT = "a token; a number only behind the word user"


class Span(NamedTuple):
    """Where an id stands in a text."""

    start: int
    end: int
    id: str


class Needles:
    """A set of ids that texts and values are searched for."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.ids = frozenset(one for one in ids if one)
        self.numbers = frozenset(one for one in self.ids if is_number(one))
        self.words = self.ids - self.numbers
        self._by_token: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self._without_token: list[str] = []
        for one in self.ids:
            first = _TOKEN.search(one)
            if first is None:
                self._without_token.append(one)
            else:
                self._by_token[first.group()].append((first.start(), one))

    def wanted(self, mode: Mode) -> frozenset[str]:
        """The ids that count where they are a whole value."""
        return self.words if mode is Mode.TEXT else self.ids

    def find(self, text: str, mode: Mode = Mode.TEXT) -> set[str]:
        """The ids that a text holds.

        >>> needles = Needles(["u7", "815"])
        >>> sorted(needles.find("u7 u77 815 of user 815")), needles.find("815 rows")
        (['815', 'u7'], set())
        >>> needles.find("815,2", Mode.PAYLOAD), needles.find("a-815", Mode.USER)
        ({'815'}, set())
        """
        found = {text} if text in self.wanted(mode) else set()
        return found if mode is Mode.USER else found | {span.id for span in self.spans(text, mode)}

    def spans(self, text: str, mode: Mode = Mode.TEXT) -> Iterator[Span]:
        """Where the ids stand in a text, from left to right; spans of different ids may overlap."""
        for token in _TOKEN.finditer(text):
            for offset, one in self._by_token.get(token.group(), ()):
                span = Span(token.start() - offset, token.start() - offset + len(one), one)
                if _stands(text, span) and (mode is Mode.PAYLOAD or self._tells(text, span)):
                    yield span
        for one in self._without_token:
            for found in re.finditer(re.escape(one), text):
                yield Span(found.start(), found.end(), one)

    def _tells(self, text: str, span: Span) -> bool:
        if span.id not in self.numbers:
            return True
        return bool(_USER_BEFORE.search(text[max(0, span.start - _LOOK_BACK) : span.start]))


def is_number(text: str) -> bool:
    """Whether an id could as well be a size, a version or another thing's number."""
    return bool(_NUMBER.fullmatch(text))


def column_mode(path: tuple[str, ...]) -> Mode:
    """How a table's column is searched, by the names on the way to it.

    >>> column_mode(("user_id",)).name, column_mode(("scores", "items")).name, column_mode(("note",)).name
    ('USER', 'TEXT', 'VALUE')
    """
    names = {name.lower() for name in path}
    if names & (NAMES_USERS | PAYLOADS):
        return key_mode(path)
    return Mode.TEXT if names & NAMES_OTHERS else Mode.VALUE


def key_mode(path: tuple[str, ...]) -> Mode:
    """How a value of a document is searched, by the keys on the way to it."""
    names = {name.lower() for name in path}
    if names & PAYLOADS:
        return Mode.PAYLOAD
    return Mode.USER if names & NAMES_USERS else Mode.TEXT


def _stands(text: str, span: Span) -> bool:
    """Whether an id is there, and is not a part of a longer word."""
    if span.start < 0 or not text.startswith(span.id, span.start):
        return False
    before, after = text[span.start - 1 : span.start] if span.start else "", text[span.end : span.end + 1]
    return not (_word(before) and _word(span.id[0])) and not (_word(after) and _word(span.id[-1]))


def _word(character: str) -> bool:
    return bool(character) and (character == "_" or character.isalnum())
