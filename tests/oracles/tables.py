"""What the tables hold of a user, from the raw events and what a fit stored: no kernel is asked."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from features.codes import MODE_CODES, UNKNOWN
from features.sessions import SessionRule
from tests.content import table
from tests.oracles.hops import Tested, tag_user
from tests.oracles.sessions import session_ordinals
from tests.oracles.strands import Event
from tests.oracles.themes import Vector, running


class Raw(NamedTuple):
    """An accepted event."""

    user: str
    event_id: str
    ts: int  # µs
    item: str
    category: str
    mode: str


class Session(NamedTuple):
    """What is compared of a row of ``silver/sessions``."""

    user_id: str
    ordinal: int
    start_ts: int  # µs
    end_ts: int
    n_events: int
    first_event_id: str
    theme_id: int
    tested: Tested


@dataclass(frozen=True)
class Learned:
    """A fit by ids, and the vocabularies' numbers."""

    items: dict[str, Vector]
    categories: dict[str, Vector]
    centroids: dict[int, Vector]
    nulls: dict[tuple[str, str], list[float]]
    alpha: float
    item_index: dict[str, int]
    category_index: dict[str, int]

    @classmethod
    def read(cls, warehouse: Path) -> "Learned":
        """Of a warehouse with one fit."""
        index = {
            kind: dict(zip(names["id"], names["index"].tolist(), strict=True))
            for kind, names in (
                (kind, table(warehouse, f"silver/{many}"))
                for kind, many in (("item", "items"), ("category", "categories"))
            )
        }
        names = {kind: {number: name for name, number in own.items()} for kind, own in index.items()}
        vectors: dict[str, dict[str, Vector]] = {"item": {}, "category": {}}
        for row in table(warehouse, "silver/item_vectors").to_dict("records"):
            vectors[row["kind"]][names[row["kind"]][row["index"]]] = on_grid(row["vector"])
        themes = table(warehouse, "silver/themes")
        nulls = table(warehouse, "silver/hop_nulls")
        (options,) = table(warehouse, "silver/fits")["options"]
        return cls(
            vectors["item"],
            vectors["category"],
            dict(zip(themes["theme_id"].tolist(), map(on_grid, themes["centroid"]), strict=True)),
            {
                (left, right): distances.tolist()
                for left, right, distances in nulls[["left_class", "right_class", "distances"]].itertuples(
                    index=False
                )
            },
            json.loads(options)["hops"]["alpha"],
            index["item"],
            index["category"],
        )

    def vector(self, event: Raw) -> Vector | None:
        return self.items.get(event.item) or self.categories.get(event.category)


def on_grid(values: Sequence[float]) -> Vector:
    """Multiples of 2^-16."""
    return tuple(int(value * 65536) for value in values)


def user_rows(events: list[Raw], fit: Learned, rule: SessionRule) -> tuple[list[Session], list[Event]]:
    """Sessions and tagged history of one user's events, in any order."""
    events = sorted(events, key=lambda event: (event.ts, MODE_CODES[event.mode], event.event_id))
    rows = [(e.user, e.event_id, e.ts, 0, 0, 0, MODE_CODES[e.mode], None) for e in events]
    numbers = [session for _, session in session_ordinals(rows, rule)]
    sessions = [
        [event for _, event in own] for _, own in groupby(zip(numbers, events, strict=True), lambda p: p[0])
    ]
    vectors = [[fit.vector(event) for event in session] for session in sessions]
    dim = len(next(iter(fit.centroids.values())))
    themes = [running(session, fit.centroids, dim) for session in vectors]
    tested = tag_user(vectors, [theme[-1] for theme in themes], fit.nulls, fit.alpha)
    found, history = [], []
    for number, (session, theme) in enumerate(zip(sessions, themes, strict=True), 1):
        first, last = session[0], session[-1]
        found.append(
            Session(
                first.user, number, first.ts, last.ts, len(session), first.event_id, theme[-1],
                tested[number - 1],
            )
        )  # fmt: skip
        history += [
            Event(
                event.ts,
                fit.item_index.get(event.item, UNKNOWN),
                fit.category_index.get(event.category, UNKNOWN),
                MODE_CODES[event.mode],
                number,
                theme[-1],
                at,
            )
            for event, at in zip(session, theme, strict=True)
        ]
    return found, history
