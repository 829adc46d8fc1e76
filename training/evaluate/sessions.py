"""Facts about sessions that slices need: which ones hop, which ones return, how often a user hopped before.

Two sources. ``from_flags`` takes labels: those that the pipeline tested (``silver/sessions``), as
``training.fit`` and the grids do, or a generator's truth. Without labels, ``from_batches`` derives them
from rows: a session hops when its theme differs from that of the session before, and returns when,
besides, an earlier session had its theme; both need named themes.

These are labels, made after the event: they read the *final* theme of the target's own session, and themes
of sessions that were still open. A model must read none of this. The last session of a chunk has the theme it
had at the chunk's end.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.codes import FIRST_INDEX, NO_THEME
from features.returns import find_returns
from training.batch import Batch

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
UNDECIDED = -1


@dataclass(frozen=True)
class SessionFacts:
    """S sessions, sorted by user and ordinal."""

    user: Ints  # (S,)
    ordinal: Ints  # (S,) from 1
    hop: NDArray[np.int8]  # (S,) 1 hop, 0 none, -1 undecided
    returns: Flags  # (S,)
    hops_before: NDArray[np.int32]  # (S,) hops among the user's earlier sessions

    @classmethod
    def from_flags(cls, user: Ints, ordinal: Ints, hop: NDArray[np.int8], returns: Flags) -> "SessionFacts":
        """Facts from labels in any order; ValueError where a session is given twice."""
        order = np.lexsort((ordinal, user))
        user, ordinal, hop, returns = user[order], ordinal[order], hop[order], returns[order]
        twice = (user[1:] == user[:-1]) & (ordinal[1:] == ordinal[:-1])
        if twice.any():
            at = int(np.flatnonzero(twice)[0])
            raise ValueError(f"session {ordinal[at]} of user {user[at]} is given more than once")
        hops = np.cumsum(hop == 1) - (hop == 1)
        first = np.ones(len(user), dtype=bool)
        first[1:] = user[1:] != user[:-1]
        before = hops - np.maximum.accumulate(np.where(first, hops, 0)) if len(user) else hops
        return cls(user, ordinal, hop.astype(np.int8), returns, before.astype(np.int32))

    @classmethod
    def from_themes(cls, user: Ints, ordinal: Ints, theme: NDArray[np.int32]) -> "SessionFacts":
        """Facts from the themes (1 none, 2 …) of sessions in any order."""
        order = np.lexsort((ordinal, user))
        user, ordinal, theme = user[order], ordinal[order], theme[order].astype(np.int32)
        before = np.full(len(user), NO_THEME, np.int32)
        follows = (user[1:] == user[:-1]) & (ordinal[1:] == ordinal[:-1] + 1)
        before[1:][follows] = theme[:-1][follows]
        decided = (theme >= FIRST_INDEX) & (before >= FIRST_INDEX)
        hop = np.where(decided, theme != before, UNDECIDED).astype(np.int8)
        returns, _, _ = find_returns(user, ordinal.astype(np.int32), theme, before, hop == 1)
        return cls.from_flags(user, ordinal, hop, returns)

    @classmethod
    def from_batches(cls, batches: Iterable[Batch]) -> "SessionFacts":
        """Facts from all sessions that rows hold; a session's theme is that of the latest row with it.

        Give it the rows of training *and* evaluation: a window may not hold a user's older sessions.
        """
        parts = [_sessions(batch) for batch in batches]
        if not parts:
            raise ValueError("no batch to take sessions from")
        user, ordinal, theme, as_of, held = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((held, as_of, ordinal, user))
        user, ordinal, theme = user[order], ordinal[order], theme[order]
        last = np.ones(len(user), dtype=bool)
        last[:-1] = (user[1:] != user[:-1]) | (ordinal[1:] != ordinal[:-1])
        return cls.from_themes(user[last], ordinal[last], theme[last].astype(np.int32))

    def find(self, user: Ints, ordinal: Ints) -> Ints:
        """(N,) place of each session among the facts; ValueError where one is missing."""
        width = int(max(self.ordinal.max(initial=0), ordinal.max(initial=0))) + 1
        users = np.unique(np.concatenate([self.user, user]))
        known = np.searchsorted(users, self.user) * width + self.ordinal
        asked = np.searchsorted(users, user) * width + ordinal
        at = np.minimum(np.searchsorted(known, asked), max(len(known) - 1, 0))
        missing = known[at] != asked if len(known) else np.ones(len(asked), dtype=bool)
        if missing.any():
            n = int(np.flatnonzero(missing)[0])
            raise ValueError(
                f"{int(missing.sum())} targets lie in sessions without facts, such as session {ordinal[n]} "
                f"of user {user[n]}; collect the facts from the same table version"
            )
        found: Ints = at.astype(np.int64)
        return found


def _sessions(batch: Batch) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """User, ordinal, theme, the row's last time and the session's events in it, of every session in the rows.

    The number of events tells rows apart that end in the same second.
    """
    rows = batch.rows.to("cpu")
    session, length = rows.session.numpy(), rows.length.numpy()
    row, place = np.nonzero(np.arange(session.shape[1])[None] < length[:, None])
    ordinal = session[row, place]
    last = np.ones(len(row), dtype=bool)  # the last place of each session
    last[:-1] = (row[1:] != row[:-1]) | (ordinal[1:] != ordinal[:-1])
    held = np.diff(np.flatnonzero(last), prepend=-1)
    row, place = row[last], place[last]
    as_of = rows.ts.numpy()[row, length[row].astype(np.int64) - 1]
    theme = rows.session_theme.numpy()[row, place]
    return rows.user_id.numpy()[row], ordinal[last].astype(np.int64), theme.astype(np.int64), as_of, held
