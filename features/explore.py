"""Strands of a row of ``gold/user_sequences`` spelled out, for people who want to look.

In Spark SQL, for the family ``theme`` (positions index the padded arrays from 0, ``element_at``
counts from 1, and -1 is an empty place)::

    SELECT user_id, chunk, strand, element_at(theme__key, strand + 1) AS key, place,
           element_at(events__ordinal, at + 1) AS ordinal,
           element_at(events__item, at + 1) AS item,
           element_at(events__category, at + 1) AS category,
           element_at(events__type, at + 1) AS type,
           timestamp_seconds(element_at(events__ts, at + 1)) AS ts
    FROM (
      SELECT *, CAST(floor(slot / width) AS INT) AS strand, CAST(slot % width AS INT) AS place
      FROM (
        SELECT *, size(theme__pos) / size(theme__key) AS width
        FROM user_sequences LATERAL VIEW posexplode(theme__pos) AS slot, at
      )
    )
    WHERE at >= 0
    ORDER BY user_id, chunk, strand, place
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from features.codes import PADDING
from features.spec import EVENT_FIELDS

SHOWN = ("ordinal", "item", "category", "type", "ts")
Row = Mapping[str, Any]
Names = Mapping[str, Mapping[int, Any]]
"""What codes stand for, by event field: ``{"item": {2: "B00X4WHP5E"}, "category": {…}}``."""


def expand(row: Row, family: str, names: Names | None = None) -> list[list[dict[str, Any]]]:
    """The strands of one row, newest key first, each a list of its events, oldest first.

    ``row`` maps columns to sequences, as ``Table.to_pylist()`` or a Spark ``Row.asDict()`` gives them. An
    event holds every field of ``EVENT_FIELDS`` that the row has; ``names`` replaces codes, and a code that
    it lacks stays a number. KeyError where the row has no such family.

    >>> row = {"recent__pos": [-1, 1, 2], "recent__key": [1], "events__item": [0, 7, 9]}
    >>> expand(row, "recent", {"item": {9: "tea"}})
    [[{'item': 7}, {'item': 'tea'}]]
    """
    return [[_event(row, at, names or {}) for at in places if at >= 0] for _, places in _strands(row, family)]


def expand_frame(rows: Iterable[Row], family: str, names: Names | None = None) -> pd.DataFrame:
    """One line per placed event: user_id, chunk, strand, key, place, ordinal, item, category, type, ts.

    ``strand`` counts from 0, the newest key; ``place`` from 0, the oldest place of the strand, so that an
    unfilled strand starts above 0. ``ts`` is in UTC.
    """
    lines = [
        {
            "user_id": row["user_id"],
            "chunk": row["chunk"],
            "strand": strand,
            "key": key,
            "place": place,
            **_event(row, at, names or {}, SHOWN),
        }
        for row in rows
        for strand, (key, places) in enumerate(_strands(row, family))
        for place, at in enumerate(places)
        if at >= 0
    ]
    frame = pd.DataFrame(lines, columns=["user_id", "chunk", "strand", "key", "place", *SHOWN])
    frame["ts"] = pd.to_datetime(frame["ts"], unit="s", utc=True)
    return frame


def _strands(row: Row, family: str) -> list[tuple[int, Sequence[int]]]:
    """Key and padded places of each strand that exists."""
    column = f"{family}__pos"
    if column not in row:
        families = {name.removesuffix("__pos") for name in row if name.endswith("__pos")} - {"targets"}
        raise KeyError(f"the row has no strand family {family!r}; it has {', '.join(sorted(families))}")
    pos, keys = row[column], row[f"{family}__key"]
    width = len(pos) // len(keys)
    return [
        (int(key), [int(at) for at in pos[strand * width : (strand + 1) * width]])
        for strand, key in enumerate(keys)
        if key != PADDING
    ]


def _event(row: Row, at: int, names: Names, fields: Iterable[str] = tuple(EVENT_FIELDS)) -> dict[str, Any]:
    codes = {name: int(row[f"events__{name}"][at]) for name in fields if f"events__{name}" in row}
    return {name: names.get(name, {}).get(code, code) for name, code in codes.items()}
