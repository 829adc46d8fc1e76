"""What a user's next event needs: the folds' states at the start of the last session, and that session.

The start of a session is a safe point: nothing that comes later changes what lies before it, unless it is an
event of before. So a user's state is kept as of the start of the last session, and that session's events
beside it; events to come are sorted in among those and the folds go on (``features.increment``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.chunks import OpenUsers
from features.history import Events
from features.returns import ThemesSeen
from features.tags import TagStates
from features.users import UserStates

Ints = NDArray[np.int64]

TAIL: Final = pa.schema(
    [
        ("event_id", pa.string()),
        ("ts", pa.int64()),
        ("item", pa.int32()),
        ("category", pa.int32()),
        ("type", pa.int32()),
        ("mode", pa.int32()),
        ("session_key", pa.string()),
        ("sequence", pa.int64()),
    ]
)
"""Events of the last session, as the pass over users reads them."""

EVENT_TYPES: Final = {
    field.name: pa.int64() if field.name == "ts" else pa.int32() for field in fields(Events)
}

STATES: Final = pa.schema(
    [
        ("user_id", pa.string()),
        ("last_ts", pa.timestamp("us", tz="UTC")),
        ("n_events", pa.int32()),
        ("n_sessions", pa.int32()),
        *((f"flags__{name}", pa.int64()) for name in ("first_ts", "last_ts", "awake_since")),
        ("flags__sleepless", pa.bool_()),
        *((f"flags__{name}", pa.int64()) for name in ("n_gaps", "n_fast")),
        ("tags__theme", pa.int32()),
        ("tags__tail_sum", pa.list_(pa.float64())),
        ("tags__tail_size", pa.int32()),
        ("tags__seen_theme", pa.list_(pa.int32())),
        ("tags__seen_ordinal", pa.list_(pa.int32())),
        ("open__chunk", pa.int32()),
        ("open__start", pa.int32()),
        *((f"open__{name}", pa.list_(kind)) for name, kind in EVENT_TYPES.items()),
        *((f"tail__{field.name}", pa.list_(field.type)) for field in TAIL),
    ]
)
"""``silver/user_state``. ``tail__*`` are the events of the last session, ``last_ts`` the last one's; all else
is of before that session. Without an earlier one n_events is 0 and the rest zero or empty."""


@dataclass(frozen=True)
class Known:
    """U users with earlier sessions: how many events and sessions, and the folds' states behind them."""

    n_events: NDArray[np.int32]  # (U,) above 0
    n_sessions: NDArray[np.int32]  # (U,)
    flags: UserStates
    tags: TagStates
    open: OpenUsers

    @property
    def user_ids(self) -> list[str]:
        """The users; all three states have the same ones, in the same order."""
        return self.flags.user_ids

    def take(self, which: Ints) -> "Known":
        """The chosen users; ``which`` ascends."""
        parts = (part.take(which) for part in (self.flags, self.tags, self.open))
        return Known(self.n_events[which], self.n_sessions[which], *parts)  # type: ignore[arg-type]

    @staticmethod
    def concat(parts: Sequence["Known"]) -> "Known":
        """All parts' users, one after the other."""
        if len(parts) == 1:
            return parts[0]
        return Known(
            np.concatenate([part.n_events for part in parts]),
            np.concatenate([part.n_sessions for part in parts]),
            UserStates.concat([part.flags for part in parts]),
            TagStates.concat([part.tags for part in parts]),
            OpenUsers.concat([part.open for part in parts]),
        )


@dataclass(frozen=True)
class Tails:
    """The last session of each of U users."""

    user_ids: list[str]
    offsets: Ints  # (U + 1,) user u owns events [offsets[u], offsets[u + 1])
    events: pa.RecordBatch  # TAIL and perhaps more

    def columns(self) -> dict[str, pa.Array]:
        """Those of ``STATES`` that the last session fills."""
        ends = self.events.column("ts").take(pa.array(self.offsets[1:] - 1))
        lists = {f"tail__{field.name}": _lists(self.offsets, self._of(field)) for field in TAIL}
        return {
            "user_id": pa.array(self.user_ids, pa.string()),
            "last_ts": ends.cast(STATES.field("last_ts").type),
            **lists,
        }

    def _of(self, field: pa.Field) -> pa.Array:
        return self.events.column(field.name).cast(field.type)


def state_rows(tails: Tails, known: Known | None) -> pa.RecordBatch:
    """Rows of ``STATES`` of the tails' users, who are those of ``known``; None: no earlier session."""
    columns = tails.columns() | (_nothing(len(tails.user_ids)) if known is None else _columns(known))
    return pa.record_batch([columns[name] for name in STATES.names], schema=STATES)


def known_users(rows: pa.RecordBatch | pa.Table) -> Known | None:
    """What rows of ``STATES`` know of users with an earlier session; None where there is no such user."""
    rows = rows.filter(pa.compute.greater(rows.column("n_events"), 0))
    if not rows.num_rows:
        return None
    table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
    names = [name for name in STATES.names if not name.startswith("tail__")]
    found = {name: table.column(name).combine_chunks() for name in names}
    users = found["user_id"].to_pylist()
    flags = [found[f"flags__{field.name}"].to_numpy(zero_copy_only=False) for field in fields(UserStates)[1:]]
    seen_offsets, seen_theme = _flat(found["tags__seen_theme"])
    _, seen_ordinal = _flat(found["tags__seen_ordinal"])
    seen_user = np.repeat(np.arange(len(users)), np.diff(seen_offsets))
    sums = _flat(found["tags__tail_sum"])[1].reshape(len(users), -1)
    kept = {name: _flat(found[f"open__{name}"]) for name in EVENT_TYPES}
    offsets = kept["ts"][0]
    return Known(
        n_events=found["n_events"].to_numpy(),
        n_sessions=found["n_sessions"].to_numpy(),
        flags=UserStates(users, *flags),
        tags=TagStates(
            users,
            found["tags__theme"].to_numpy(),
            sums,
            found["tags__tail_size"].to_numpy().astype(np.int64),
            ThemesSeen(seen_user, seen_theme, seen_ordinal),
        ),
        open=OpenUsers(
            users,
            found["open__chunk"].to_numpy().astype(np.int64),
            found["open__start"].to_numpy().astype(np.int64),
            offsets,
            Events(**{name: values for name, (_, values) in kept.items()}),
        ),
    )


def _columns(known: Known) -> dict[str, pa.Array]:
    users = len(known.user_ids)
    seen = np.append(0, np.cumsum(np.bincount(known.tags.seen.user, minlength=users)))
    dim = known.tags.tail_sum.shape[1]
    flags = zip(fields(UserStates)[1:], known.flags.columns(), strict=True)
    return {
        "n_events": pa.array(known.n_events),
        "n_sessions": pa.array(known.n_sessions),
        **{f"flags__{field.name}": pa.array(column) for field, column in flags},
        "tags__theme": pa.array(known.tags.theme),
        "tags__tail_sum": _lists(np.arange(users + 1) * dim, pa.array(known.tags.tail_sum.reshape(-1))),
        "tags__tail_size": pa.array(known.tags.tail_size, pa.int32()),
        "tags__seen_theme": _lists(seen, pa.array(known.tags.seen.theme)),
        "tags__seen_ordinal": _lists(seen, pa.array(known.tags.seen.ordinal)),
        "open__chunk": pa.array(known.open.chunk, pa.int32()),
        "open__start": pa.array(known.open.start, pa.int32()),
        **{
            f"open__{name}": _lists(known.open.offsets, pa.array(getattr(known.open.events, name)))
            for name in EVENT_TYPES
        },
    }


def _nothing(users: int) -> dict[str, pa.Array]:
    empty = np.zeros(users + 1, np.int64)
    own = (f for f in STATES if f.name not in ("user_id", "last_ts") and not f.name.startswith("tail__"))
    return {
        field.name: _lists(empty, pa.array([], field.type.value_type))
        if pa.types.is_list(field.type)
        else pa.array(np.zeros(users, np.int8)).cast(field.type)
        for field in own
    }


def _lists(offsets: Ints, values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _flat(lists: pa.ListArray) -> tuple[Ints, Any]:
    """Offsets from 0 and values of lists without nulls."""
    offsets = lists.offsets.to_numpy().astype(np.int64)
    values = lists.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
    return offsets - offsets[0], values.to_numpy()
