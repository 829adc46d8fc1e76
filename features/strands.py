"""The one strand kernel: which events of a row form which strand, at any point of the row.

``strands(v)`` of a prefix of v events: the S most recent distinct keys, newest first, each with its
last C events in ascending order. Keys below ``family.min_key`` form no strand. In the family
``theme``, sessions before that of the last visible event carry their final theme, and that event's
own session carries its running theme, for all its visible events; so a strand reads nothing that
happened after the prefix. Definitions: our choice (DESIGN.md, terms).

The batch job asks at the end of every chunk, training at every target, serving at the history's end.

Inside, rows are read newest first ("ago" 0 is the row's last place). Events are linked by key once
per row; one question then costs a scan for the newest event of each key plus the places it fills.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.codes import FIRST_INDEX, NO_POSITION, PADDING
from features.spec import FamilySpec, SequenceSpec

Ints = NDArray[np.int64]
SMALL_KEYS = 1 << 16
"""Keys below this sort as uint16, for which NumPy has a radix sort."""


@dataclass(frozen=True)
class RowTags:
    """What the families read of a row's events: int32 ``(rows, length)``, left-padded with 0.

    ``theme_session`` of the session that holds the last visible event is never read.
    """

    session: NDArray[np.int32]
    category: NDArray[np.int32]
    mode: NDArray[np.int32]
    theme_session: NDArray[np.int32]
    theme_running: NDArray[np.int32]


class Strands(NamedTuple):
    """The strands of one family for Q questions; see ``SequenceSpec.shape``."""

    pos: NDArray[np.int32]  # (Q, S, C) places in the row, right-aligned, -1 where empty
    key: NDArray[np.int32]  # (Q, S) newest first, 0 where empty


@dataclass(frozen=True)
class _Links:
    """Events of every row linked by key, newest first; arrays of shape (rows, length)."""

    key: NDArray[np.int32]
    newer: NDArray[np.int32]  # ago of the next newer event with this key; -1 none; length: no strand
    order: NDArray[np.int32]  # agos sorted by (key, ago)
    slot: NDArray[np.int32]  # where an ago stands in order
    older: NDArray[np.int32]  # events of the key from this one back, itself included


def ramp(counts: Ints) -> Ints:
    """0 .. count − 1 for each count, concatenated.

    >>> ramp(np.array([2, 0, 3])).tolist()
    [0, 1, 0, 1, 2]
    """
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) - np.repeat(ends - counts, counts)


def strands(tags: RowTags, row: Ints | None, end: Ints, spec: SequenceSpec) -> dict[str, Strands]:
    """Strands of every family, visible from the place before ``end[q]`` in row ``row[q]``.

    ``end`` (Q,) are row positions, exclusive: ``read_pos + 1`` for a target, the row's length for its
    end. Where nothing is visible, strands are empty. ``row`` None asks once of every row.
    """
    rows, length = tags.session.shape
    asked = np.arange(rows) if row is None else row
    if len(end) != len(asked):
        raise ValueError(f"{len(asked)} rows were asked for at {len(end)} ends; give one end per row")
    found: dict[str, Strands] = {}
    for family in spec.families:
        places = min(family.length, length)
        if family.name == "recent":
            found["recent"] = _recent(tags, asked, end, places)
        elif family.name == "theme":
            found["theme"] = _theme(tags, asked, end, family, places)
        else:
            links = _link(getattr(tags, family.name), family.min_key)
            newest = _newest(_candidates(links, asked, end), family.strands)
            pos = np.full((len(asked), family.strands, places), NO_POSITION, np.int32)
            _place(pos, links, asked, newest, np.zeros_like(newest))
            found[family.name] = Strands(pos, _keys(links, asked, newest))
    return found


def _recent(tags: RowTags, row: Ints, end: Ints, places: int) -> Strands:
    """The last events before ``end``, whatever they are."""
    first = (tags.session != PADDING).argmax(axis=1)[row]
    first = np.where(tags.session[:, -1][row] == PADDING, tags.session.shape[1], first)
    pos = end[:, None] + np.arange(-places, 0)
    pos = np.where(pos >= first[:, None], pos, NO_POSITION).astype(np.int32)
    return Strands(pos[:, None, :], (pos[:, -1:] >= 0).astype(np.int32))


def _theme(tags: RowTags, row: Ints, end: Ints, family: FamilySpec, places: int) -> Strands:
    """Closed sessions by their final theme, behind the open session by its running theme."""
    last = np.maximum(end - 1, 0)
    opened = _session_starts(tags.session)[row, last].astype(np.int64)  # (Q,) of the open session
    running = tags.theme_running[row, last]
    own = (running >= FIRST_INDEX) & (end > 0)

    links = _link(tags.theme_session, FIRST_INDEX)
    mask = _candidates(links, row, opened)
    same = _take(links.key, row) == running[:, None]
    own_closed = np.where(own, _newest(mask & same, 1)[:, 0], -1)
    mask &= ~(same & own[:, None])
    newest = _newest(mask, family.strands)  # (Q, S) of other themes
    newest[own, 1:] = newest[own, :-1]
    newest[own, 0] = own_closed[own]

    key = _keys(links, row, newest)
    key[own, 0] = running[own]
    taken = np.zeros_like(newest)
    taken[:, 0] = np.where(own, np.minimum(end - opened, places), 0)
    pos = np.full((len(row), family.strands, places), NO_POSITION, np.int32)
    _place(pos, links, row, newest, taken)
    step = ramp(taken[:, 0])
    question = np.repeat(np.arange(len(row)), taken[:, 0])
    pos[question, 0, places - 1 - step] = end[question] - 1 - step
    return Strands(pos, key)


def _session_starts(session: NDArray[np.int32]) -> NDArray[np.int32]:
    """Position at which each event's session begins in its row; shape (rows, length)."""
    begins = np.zeros(session.shape, np.int32)
    places = np.arange(1, session.shape[1], dtype=np.int32)
    begins[:, 1:] = np.where(session[:, 1:] != session[:, :-1], places, 0)
    return np.maximum.accumulate(begins, axis=1)


def _link(tag: NDArray[np.int32], min_key: int) -> _Links:
    """Link the events of every row by key."""
    rows, length = tag.shape
    key = np.ascontiguousarray(tag[:, ::-1])
    sortable = key.astype(np.uint16) if key.max(initial=0) < SMALL_KEYS else key
    order = np.argsort(sortable, axis=1, kind="stable")
    base = np.arange(rows)[:, None] * length
    flat = (order + base).ravel()  # sorted place -> event, both counted over all rows
    ranked = key.ravel()[flat]

    begins = np.ones(rows * length, dtype=bool)
    begins[1:] = ranked[1:] != ranked[:-1]
    begins[::length] = True
    starts = np.flatnonzero(begins)
    sizes = np.diff(np.append(starts, rows * length))
    slots = np.arange(rows * length, dtype=np.int32)

    order = order.astype(np.int32)
    newer_ranked = np.empty(rows * length, np.int32)
    newer_ranked[1:] = order.ravel()[:-1]
    newer_ranked[begins] = -1
    newer_ranked[ranked < min_key] = length
    newer, slot, older = (np.empty(rows * length, np.int32) for _ in range(3))
    newer[flat] = newer_ranked
    slot[flat] = slots
    older[flat] = np.repeat((starts + sizes).astype(np.int32), sizes) - slots
    shape = (rows, length)
    slot2d = slot.reshape(shape) - base.astype(np.int32)
    return _Links(key, newer.reshape(shape), order, slot2d, older.reshape(shape))


def _take(array: NDArray[np.int32], row: Ints) -> NDArray[np.int32]:
    """``array[row]``, without a copy where every row is asked once, in order."""
    if len(row) == len(array) and np.array_equal(row, np.arange(len(array))):
        return array
    return array[row]


def _candidates(links: _Links, row: Ints, end: Ints) -> NDArray[np.bool_]:
    """Whether an event is the newest of its key before ``end``; shape (Q, length), newest first."""
    newer = _take(links.newer, row)
    length = newer.shape[1]
    edge = (length - end).astype(np.int32)[:, None]  # the newest `edge` places can't be seen
    mask: NDArray[np.bool_] = newer < edge
    mask &= np.arange(length, dtype=np.int32) >= edge
    return mask


def _newest(mask: NDArray[np.bool_], strands: int) -> Ints:
    """Agos of the first ``strands`` true places of each row of the mask, -1 where there are fewer."""
    left = mask.copy()
    questions = np.arange(len(mask))
    newest = np.full((len(mask), strands), -1, np.int64)
    for strand in range(strands):
        ago = left.argmax(axis=1)
        newest[:, strand] = np.where(left[questions, ago], ago, -1)
        left[questions, ago] = False
    return newest


def _keys(links: _Links, row: Ints, newest: Ints) -> NDArray[np.int32]:
    """The key of each strand, 0 where there is none; shape (Q, S)."""
    keys = links.key[row[:, None], np.maximum(newest, 0)]
    return np.where(newest >= 0, keys, PADDING).astype(np.int32)


def _place(pos: NDArray[np.int32], links: _Links, row: Ints, newest: Ints, taken: Ints) -> None:
    """Write each strand's events, from its newest back, to the left of the places already taken."""
    length, places = links.key.shape[1], pos.shape[2]
    question, strand = np.nonzero(newest >= 0)
    ago = newest[question, strand]
    in_row = row[question]
    used = taken[question, strand]
    count = np.minimum(links.older[in_row, ago].astype(np.int64), places - used)
    step = ramp(count)
    source = np.repeat(in_row * length + links.slot[in_row, ago], count) + step
    target = np.repeat((question * pos.shape[1] + strand + 1) * places - 1 - used, count) - step
    pos.reshape(-1)[target] = length - 1 - links.order.ravel()[source]
