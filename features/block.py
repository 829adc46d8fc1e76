"""A block of events: the unit that the per-user kernels work on."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

ENCODED_EVENTS = pa.schema(
    [
        ("user_id", pa.string()),
        ("event_id", pa.string()),
        ("ts", pa.int64()),  # µs since the epoch, UTC
        ("item", pa.int32()),
        ("category", pa.int32()),
        ("type", pa.int32()),
        ("mode", pa.int32()),
        ("session_key", pa.string()),  # null unless the source gives sessions
    ]
)
"""Events as the kernels read them: sorted by user, then ts, source sequence, mode, event id."""


@dataclass(frozen=True)
class EventBlock:
    """Whole sessions of one or more users, in order, as flat arrays of N events and U users.

    A user whose history does not fit one block is cut between two sessions: ``continued`` says that
    the first user began in the block before, ``unfinished`` that the last one goes on in the next.
    """

    user_ids: list[str]  # U
    offsets: NDArray[np.int64]  # U + 1; user u owns events [offsets[u], offsets[u + 1])
    event_id: pa.Array  # N strings
    ts: NDArray[np.int64]  # N, µs
    item: NDArray[np.int32]  # N
    category: NDArray[np.int32]  # N
    type: NDArray[np.int32]  # N
    mode: NDArray[np.int32]  # N
    ordinal: NDArray[np.int32]  # N, from 1 in the user's whole history
    session: NDArray[np.int32]  # N, session ordinal from 1 in the user's whole history
    continued: bool
    unfinished: bool

    @property
    def size(self) -> int:
        """Number of events."""
        return len(self.ts)

    def session_starts(self) -> NDArray[np.int64]:
        """Positions at which a session begins, ascending; shape (sessions in the block,)."""
        begins = np.ones(self.size, dtype=bool)
        begins[1:] = self.session[1:] != self.session[:-1]
        begins[self.offsets[:-1]] = True
        return np.flatnonzero(begins)
