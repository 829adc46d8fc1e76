"""Pools: which events a chunk of one user needs, and how far the chunk can reach.

P(x), the events that the strands of the first x events may read: the last R events; for each
selected key of each family its last C events; for themes, of the running theme and of the S most
recent themes of sessions closed before the session of event x − 1, the last C events of closed
sessions. A chunk that owns the targets [a, b) holds

    P(v_a) ∪ ⋃_{a < x ≤ b} P(x)        v_a = events with ts strictly before target a's

which contains [a, b), covers every target's prefix (it is v_a, or lies in (a, b)) and the chunk's
end. P(a) itself is in it only where v_a = a: with it, a target in the middle of a long run of equal
times could need more than ``SequenceSpec.smallest_pool``. b is the largest for which the pool has
at most L events and b − a ≤ P. Our choice.

Why one scan of the chunk's own events is enough: an event before a enters the pool either at x = a + 1,
or when its key, not selected there, next occurs at q ≥ a (x = q + 1) as one of its last C − 1 before a.
For themes the occurrence is the running theme becoming k at q; the closed sessions of k are then all
older than the session of a, else k would have been the running theme before. Events of that session
itself need no care: when it closes, its last C events are within R.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.codes import FIRST_INDEX
from features.history import Events
from features.spec import FamilySpec, SequenceSpec

Ints = NDArray[np.int64]
NOTHING: Ints = np.empty(0, np.int64)
FIRST_WIDTH = 16
"""Targets looked at when nothing is known of the chunk before (our choice)."""


class Chunk(NamedTuple):
    """A chunk of one user: it owns the events [start, end) as targets and holds ``pool``."""

    start: int
    end: int
    pool: Ints  # ascending


class _Occurrences:
    """Events of one user linked by key; keys that form no strand are never found."""

    def __init__(self, key: NDArray[np.int32], min_key: int) -> None:
        size = len(key)
        self.order = np.argsort(key, kind="stable")
        ranked = key[self.order]
        begins = np.ones(size, dtype=bool)
        begins[1:] = ranked[1:] != ranked[:-1]
        places = np.arange(size)
        rank = places - np.maximum.accumulate(np.where(begins, places, 0))
        before = np.where(begins, -1, np.roll(self.order, 1))
        after = np.where(np.roll(begins, -1), size, np.roll(self.order, -1))
        before[ranked < min_key] = -1
        after[ranked < min_key] = -1
        self.slot, self.rank, self.before, self.after = (np.empty(size, np.int64) for _ in range(4))
        self.slot[self.order] = places
        self.rank[self.order] = rank
        self.before[self.order] = before  # event before with this key, or -1
        self.after[self.order] = after  # event after with this key, or size
        self.ranked = ranked.astype(np.int64) * (size + 1) + self.order  # ascending

    def last_before(self, key: Ints, limit: int) -> Ints:
        """The last event of each key before ``limit``, -1 where there is none."""
        base = key * (len(self.order) + 1)
        found = np.searchsorted(self.ranked, base + limit) - 1
        known = (found >= 0) & (self.ranked[found] >= base)
        return np.where(known, self.order[found], -1)

    def tails(self, newest: Ints, most: int) -> tuple[Ints, Ints]:
        """Each event and those before it with its key, at most ``most``; flat, and how many of each."""
        rank, back = self.rank[newest], np.arange(most)
        places = (self.slot[newest][:, None] - back)[back <= rank[:, None]]
        return self.order[places], np.minimum(rank + 1, most)

    def kept(self, limit: int, most: int) -> NDArray[np.bool_]:
        """Whether each event is before ``limit`` and among the last ``most`` of its key there."""
        later = np.minimum(self.slot + most, len(self.order) - 1)
        pushed = (self.rank[self.order[later]] - self.rank == most) & (self.order[later] < limit)
        kept: NDArray[np.bool_] = ~pushed & (np.arange(len(self.order)) < limit)
        return kept


class _Recency:
    """The last events of the S most recent keys, followed along one user's history."""

    def __init__(self, occurrences: _Occurrences, strands: int) -> None:
        self._after, self._strands = occurrences.after, strands
        self._at, self._newest = 0, NOTHING

    def at(self, x: int) -> Ints:
        """The last events before x of the S keys most recent there, ascending; x must not decrease."""
        old = self._newest[self._after[self._newest] >= x]
        new = np.flatnonzero(self._after[self._at : x] >= x) + self._at
        self._at, self._newest = x, np.concatenate([old, new])[-self._strands :]
        return self._newest


class _Family:
    """One keyed family of one user's history: what it needs at a prefix, and what enters later."""

    def __init__(self, key: NDArray[np.int32], family: FamilySpec) -> None:
        self.occurrences = _Occurrences(key, family.min_key)
        self.most = family.length
        self._strands = family.strands
        self.restart()

    def restart(self) -> None:
        """Forget how far the two prefixes have been followed."""
        self._reads = _Recency(self.occurrences, self._strands)
        self._ends = _Recency(self.occurrences, self._strands)

    def read(self, x: int) -> Ints:
        """P(x) of this family; x must not decrease from call to call."""
        return self.occurrences.tails(self._reads.at(x), self.most)[0]

    def end(self, x: int) -> Ints:
        """The same for a second, independent run of prefixes."""
        return self.occurrences.tails(self._ends.at(x), self.most)[0]

    def entering(self, a: int, stop: int) -> tuple[Ints, Ints]:
        """Events before a that keys of [a, stop) bring in, and the prefix at which they do."""
        before = self.occurrences.before[a:stop]
        first = np.flatnonzero((before >= 0) & (before < a))
        if self.most == 1 or len(first) == 0:
            return NOTHING, NOTHING
        events, count = self.occurrences.tails(before[first], self.most - 1)
        return events, np.repeat(first + a + 1, count)

    def kept(self, a: int) -> NDArray[np.bool_]:
        """Whether an event may be needed at some prefix beyond a."""
        return self.occurrences.kept(a, self.most)


class _Themes(_Family):
    """Themes: closed sessions by their final theme, and the running theme of the open one."""

    def __init__(self, events: Events, opened: Ints, family: FamilySpec) -> None:
        super().__init__(events.theme_session, family)
        self._running, self._opened = events.theme_running, opened

    def read(self, x: int) -> Ints:
        return np.concatenate([super().read(self._open(x)), self._own(x)])

    def end(self, x: int) -> Ints:
        return np.concatenate([super().end(self._open(x)), self._own(x)])

    def _open(self, x: int) -> int:
        return int(self._opened[x - 1])

    def _own(self, x: int) -> Ints:
        return self._closed(self._running[x - 1 : x].astype(np.int64), self._open(x))[0]

    def _closed(self, themes: Ints, limit: int) -> tuple[Ints, Ints]:
        """The last C events of closed sessions of each theme, and how many of each theme."""
        last = np.where(themes >= FIRST_INDEX, self.occurrences.last_before(themes, limit), -1)
        found = last >= 0
        events, count = self.occurrences.tails(last[found], self.most)
        counts = np.zeros(len(themes), np.int64)
        counts[found] = count
        return events, counts

    def entering(self, a: int, stop: int) -> tuple[Ints, Ints]:
        themes, first = np.unique(self._running[a:stop], return_index=True)
        events, counts = self._closed(themes.astype(np.int64), self._open(a + 1))
        return events, np.repeat(first + a + 1, counts)

    def kept(self, a: int) -> NDArray[np.bool_]:
        return self.occurrences.kept(int(self._opened[min(a, len(self._opened) - 1)]), self.most)


class _Sessions(_Family):
    """Sessions: they never come back, so that old ones need not be kept."""

    def __init__(self, session: NDArray[np.int32], family: FamilySpec) -> None:
        super().__init__(session, family)
        self._session = session

    def kept(self, a: int) -> NDArray[np.bool_]:
        open_now = self._session[min(a, len(self._session) - 1)]
        recent: NDArray[np.bool_] = self._session > open_now - self._strands
        return recent & super().kept(a)


class PoolIndex:
    """One user's history (or what is kept of it), ready to be cut into chunks."""

    def __init__(self, events: Events, spec: SequenceSpec) -> None:
        size = len(events)
        places = np.arange(size)
        self.size, self.spec = size, spec
        self.recent = spec.family("recent").length
        self.tied = _run_starts(events.ts, places)  # (N,) first event with the same ts: v of a target
        opened = _run_starts(events.session, places)
        self.families: list[_Family] = []
        for family in spec.families:
            if family.name == "theme":
                self.families.append(_Themes(events, opened, family))
            elif family.name == "session":
                self.families.append(_Sessions(events.session, family))
            elif family.name != "recent":
                self.families.append(_Family(getattr(events, family.name), family))
        self._entry = np.full(size, size + 1)
        self._seen = np.empty(size, np.int64)

    def first_target(self) -> int:
        """The first event with an earlier one before it; the size where all share one time."""
        return int(np.searchsorted(self.tied, 0, side="right"))

    def selected(self, x: int) -> Ints:
        """P(x), ascending."""
        for family in self.families:
            family.restart()
        found: Ints = np.unique(np.concatenate([self._recent(x), *(f.read(x) for f in self.families)]))
        return found

    def chunks(self, a: int) -> list[Chunk]:
        """Greedy chunks of the targets from a on; the last one ends with the history."""
        for family in self.families:
            family.restart()
        found: list[Chunk] = []
        width = min(FIRST_WIDTH, self.spec.targets)
        while a < self.size:
            v = int(self.tied[a])
            base = np.concatenate(
                [
                    self._recent(v),
                    self._recent(a + 1),
                    *(family.read(v) for family in self.families),
                    *(family.end(a + 1) for family in self.families),
                ]
            )
            while (chunk := self._grow(a, min(a + width, self.size), base)).end == a + width:
                if width == self.spec.targets:
                    break
                width = min(4 * width, self.spec.targets)
            found.append(chunk)
            # A little more than the chunk before: each look costs all that its targets would bring in.
            a, width = chunk.end, min(FIRST_WIDTH + (chunk.end - chunk.start) * 5 // 4, self.spec.targets)
        return found

    def kept(self, a: int) -> Ints:
        """Events that chunks from a on may need when the history goes on, ascending.

        The last run of equal times may go on too, so that its start is the v of event a.
        """
        keep = np.zeros(self.size, dtype=bool)
        keep[max(0, a - self.recent) :] = True
        for family in self.families:
            keep |= family.kept(a)
        v = int(self.tied[min(a, self.size - 1)])
        if v:
            keep[self.selected(v)] = True
        return np.flatnonzero(keep)

    def _recent(self, x: int) -> Ints:
        return np.arange(max(0, x - self.recent), x)

    def _grow(self, a: int, stop: int, base: Ints) -> Chunk:
        """The longest chunk from a within [a, stop)."""
        brought = [family.entering(a, stop) for family in self.families]
        events = np.concatenate([base, *(old for old, _ in brought)])
        entry = np.concatenate([np.full(len(base), a + 1), *(when for _, when in brought)])
        old = events < a
        events, entry = events[old], entry[old]
        self._seen[events] = np.arange(len(events))
        unique = events[self._seen[events] == np.arange(len(events))]
        if len(unique) + stop - a <= self.spec.pool:
            return Chunk(a, stop, np.concatenate([np.sort(unique), np.arange(a, stop)]))
        np.minimum.at(self._entry, events, entry)
        entry = self._entry[unique]
        self._entry[events] = self.size + 1
        entered = np.cumsum(np.bincount(entry - (a + 1), minlength=stop - a))
        sizes = entered + np.arange(1, stop - a + 1)  # pool of [a, a + 1), [a, a + 2), …
        end = a + int(np.searchsorted(sizes, self.spec.pool, side="right"))
        return Chunk(a, end, np.concatenate([np.sort(unique[entry <= end]), np.arange(a, end)]))


def _run_starts(values: NDArray[np.int64] | NDArray[np.int32], places: Ints) -> Ints:
    """For each event the first one of the run of equal values that it is in."""
    begins = np.ones(len(values), dtype=bool)
    begins[1:] = values[1:] != values[:-1]
    return np.maximum.accumulate(np.where(begins, places, 0))
