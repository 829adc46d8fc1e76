"""Which users the explorer shows: some of each kind that teach something, and those that were asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from features.page.amounts import count, several
from pipelines.errors import ConfigError
from pipelines.report.snapshot import Snapshot, quoted

EACH: Final = 3
"""Users of a kind."""

MOST_EVENTS: Final = 5_000
"""Users with more events are shown as heavy ones only: bots would fill every kind."""

_USERS: Final = (
    "WITH h AS (SELECT user_id, count(is_hop) AS decided, count(*) FILTER (WHERE is_hop) AS hops, "
    "count(*) FILTER (WHERE is_return) AS returns FROM sessions GROUP BY user_id), "
    "u AS (SELECT h.*, n_events, n_sessions, (hops + 1.0) / (decided + 4.0) AS rate "
    "FROM h JOIN users ON users.user_id = h.user_id) SELECT * FROM u "
)

KINDS: Final = {
    "hoppers": f"WHERE hops > 0 AND n_events <= {MOST_EVENTS} ORDER BY rate DESC, n_events DESC, user_id",
    "returners": f"WHERE returns > 0 AND n_events <= {MOST_EVENTS} ORDER BY returns DESC, user_id",
    "steady": f"WHERE decided > 1 AND n_events <= {MOST_EVENTS} ORDER BY rate, n_events DESC, user_id",
    "heavy": "ORDER BY n_events DESC, user_id",
}
"""Kinds of users and how to find them; rates lean on 1 in 4, so that few sessions make nobody extreme."""


@dataclass(frozen=True)
class Chosen:
    """A user, the kind it stands for, and why."""

    user_id: str
    kind: str
    why: str


def choose(tables: Snapshot, asked: Sequence[str] = ()) -> list[Chosen]:
    """Users asked for first, then ``EACH`` of every kind, none twice.

    Raises ConfigError for a user that was asked for and has no published event.
    """
    if not tables.has("silver/sessions", "silver/users", "gold/user_sequences"):
        if asked:
            raise ConfigError("--users: nothing is published yet, so no user can be shown")
        return []
    chosen = {user: _chosen(_found(tables, user), "asked for") for user in dict.fromkeys(asked)}
    for kind, condition in KINDS.items():
        rows = tables.query(f"{_USERS} {condition} LIMIT {EACH + len(chosen)}")
        new = [row for row in rows if row["user_id"] not in chosen][:EACH]
        chosen |= {row["user_id"]: _chosen(row, kind) for row in new}
    return list(chosen.values())


def _found(tables: Snapshot, user: str) -> dict[str, Any]:
    rows = tables.query(f"{_USERS} WHERE user_id = {quoted(user)}")
    if not rows:
        raise ConfigError(f"--users: user {user!r} has no published event; ids are those of the source")
    return rows[0]


def _chosen(row: dict[str, Any], kind: str) -> Chosen:
    why = (
        f"{several(row['n_events'], 'event')} in {several(row['n_sessions'], 'session')}; "
        f"{several(row['hops'], 'hop')} in {several(row['decided'], 'decided session')}, "
        f"{count(row['returns'])} of them returns"
    )
    return Chosen(row["user_id"], kind, why)
