"""Histories of the explorer's users, from their rows of ``gold/user_sequences`` and their sessions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.spec import SequenceSpec
from pipelines.report.sample import Chosen
from pipelines.report.snapshot import Snapshot, quoted

LATEST: Final = 600
"""Most events of a user that the page holds."""

FIELDS: Final = {"t": "ts", "i": "item", "c": "category", "k": "type", "s": "session"}
"""Fields of an event on the page, and of the tensors."""


@dataclass
class Names:
    """Texts that the page holds once: indices of a vocabulary to places in a list."""

    places: dict[int, int] = field(default_factory=dict)

    def place(self, index: int) -> int:
        """Where the text of an index will stand."""
        return self.places.setdefault(index, len(self.places))

    def texts(self, tables: Snapshot, table: str) -> list[str]:
        """The texts in order; an index without one is unknown."""
        if not self.places:
            return []
        listed = ", ".join(str(int(index)) for index in self.places)
        rows = tables.query(f"SELECT index, id FROM {table} WHERE index IN ({listed})")
        found = {row["index"]: row["id"] for row in rows}
        return [found.get(index, "unknown") for index in self.places]


def read_histories(tables: Snapshot, spec: SequenceSpec | None, chosen: Sequence[Chosen]) -> dict[str, Any]:
    """What the explorer's script reads: users with sessions, events and strands, and the texts they name."""
    if spec is None or not chosen:
        return {"users": [], "items": [], "categories": [], "types": []}
    items, categories, types = Names(), Names(), Names()
    vocabularies = {"i": items, "c": categories, "k": types}
    rows = _rows(tables, [one.user_id for one in chosen], spec)
    found = {one.user_id: _events(rows[one.user_id], vocabularies) for one in chosen}
    sessions = _sessions(tables, {user: events["s"][0] for user, (events, _) in found.items()})
    users = []
    for one in chosen:
        events, first = found[one.user_id]
        last = rows[one.user_id][-1]
        users.append(
            {
                # The scan for erased users knows a user by this key.
                "user_id": one.user_id,
                "kind": one.kind,
                "why": one.why,
                "events": events,
                "sessions": _session_rows(sessions.get(one.user_id, [])),
                "strands": list(_strands(last, spec, first, categories)),
            }
        )
    return {
        "users": users,
        "items": items.texts(tables, "items"),
        "categories": categories.texts(tables, "categories"),
        "types": types.texts(tables, "event_types"),
    }


def _rows(tables: Snapshot, users: Sequence[str], spec: SequenceSpec) -> dict[str, list[dict[str, Any]]]:
    """The users' last rows, in order, as many as may hold their ``LATEST`` events.

    Of every file ids and chunks are read, and the rest of row groups with such a row.
    """
    chunks = _chunks(tables, users)
    most = 1 + ceil(LATEST / spec.targets)
    found: dict[str, list[dict[str, Any]]] = {user: [] for user in users}
    groups: dict[tuple[str, int], dict[str, int]] = {}
    for user, own in chunks.items():
        last = sorted(own, reverse=True)[:most]
        for _, path, group in last:
            groups.setdefault((path, group), {})[user] = last[-1][0]
    columns = ["user_id", "chunk", "length", *spec.array_columns()]
    columns += [f"{family.name}__dropped" for family in spec.families]
    for (path, group), first in groups.items():
        with pq.ParquetFile(path) as file:
            rows = file.read_row_group(group, columns=columns)
        for user, chunk in first.items():
            here = pc.and_(pc.equal(rows["user_id"], user), pc.greater_equal(rows["chunk"], chunk))
            found[user] += rows.filter(here).to_pylist()
    return {user: sorted(own, key=lambda row: row["chunk"]) for user, own in found.items()}


def _chunks(tables: Snapshot, users: Sequence[str]) -> dict[str, list[tuple[int, str, int]]]:
    """Of each user the chunks, each with the file and the row group it lies in."""
    wanted = pa.array(sorted(users), pa.string())
    found: dict[str, list[tuple[int, str, int]]] = {user: [] for user in users}
    for path in tables.files("gold/user_sequences"):
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, columns=["user_id", "chunk"])
                here = ids.filter(pc.is_in(ids["user_id"], value_set=wanted))
                for user, chunk in zip(*(column.to_pylist() for column in here.columns), strict=True):
                    found[user].append((chunk, path, group))
    return found


def _events(
    rows: Sequence[dict[str, Any]], vocabularies: dict[str, Names]
) -> tuple[dict[str, list[int]], int]:
    """The latest events of a user by field, none between them left out, and the ordinal of the first."""
    history: dict[int, tuple[int, ...]] = {}
    for row in rows:
        fields = [row[f"events__{name}"] for name in FIELDS.values()]
        for ordinal, *values in zip(row["events__ordinal"], *fields, strict=True):
            if ordinal:
                history[ordinal] = tuple(values)
    last = max(history)
    first = last
    while first - 1 in history and last - first + 1 < LATEST:
        first -= 1
    kept = range(first, last + 1)
    events: dict[str, list[int]] = {}
    for at, name in enumerate(FIELDS):
        values = [history[ordinal][at] for ordinal in kept]
        names = vocabularies.get(name)
        events[name] = [names.place(value) for value in values] if names else values
    return events, first


def _sessions(tables: Snapshot, first: Mapping[str, int]) -> dict[str, list[dict[str, Any]]]:
    """The sessions of each user from the ``first`` one on."""
    listed = " OR ".join(f"(user_id = {quoted(user)} AND ordinal >= {at})" for user, at in first.items())
    rows = tables.query(
        "SELECT user_id, ordinal, start_ts, end_ts, n_events, theme_id, hop_p, is_hop, is_return, return_lag "
        f"FROM sessions WHERE {listed} ORDER BY user_id, ordinal"
    )
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["user_id"], []).append(row)
    return found


def _session_rows(sessions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sessions as the page has them."""
    return [
        {
            "o": row["ordinal"],
            "from": int(row["start_ts"].timestamp()),
            "to": int(row["end_ts"].timestamp()),
            "n": row["n_events"],
            "theme": row["theme_id"],
            "p": None if row["hop_p"] is None else round(row["hop_p"], 4),
            "hop": row["is_hop"],
            "back": bool(row["is_return"]),
            "lag": row["return_lag"],
        }
        for row in sessions
    ]


def _strands(
    row: dict[str, Any], spec: SequenceSpec, first: int, categories: Names
) -> Iterator[dict[str, Any]]:
    """The strands at the end of a user's last row: places are events of the page, -1 older than those."""
    for family in spec.families:
        positions, keys = row[f"{family.name}__pos"], row[f"{family.name}__key"]
        width = len(positions) // len(keys)
        strands = []
        for at, key in enumerate(keys):
            own = [pos for pos in positions[at * width : (at + 1) * width] if pos >= 0]
            if own:
                places = [max(-1, row["events__ordinal"][pos] - first) for pos in own]
                strands.append(
                    {"key": categories.place(key) if family.name == "category" else key, "at": places}
                )
        yield {
            "family": family.name,
            "strands": strands,
            "most": family.strands,
            "width": width,
            "dropped": row[f"{family.name}__dropped"],
            "length": row["length"],
        }
