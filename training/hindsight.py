"""Take out of a gold row what only a later target put there.

A row's pool holds every event that some target of the chunk needs. An old event that is there for the
strands of a later target tells an earlier one about its future: the user is going to come back to that
theme. A model that attends over its row must not find it. So a row keeps, of the events that its first
target may see, those in that target's own strands, and everything after them: nothing of it
depends on what happened after the first target. Later targets lose old events of keys that the first
one's strands did not have, and keep all that has happened since. First chunks hold whole histories and
stay as they are. Our choice.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.codes import NO_POSITION, PADDING
from features.spec import SequenceSpec
from features.strands import RowTags, strands

Events = dict[str, NDArray[Any]]


def seen_by_first_target(
    events: Events, first_read: NDArray[np.int64], spec: SequenceSpec
) -> NDArray[np.bool_]:
    """(N, L) bool: the events of N left-padded rows that stay; ``first_read`` (N,) place, -1 nothing seen.

    ``events`` has (N, L) ``session``, ``category``, ``mode``, ``theme`` and ``session_theme``.
    """
    tags = RowTags(
        session=events["session"],
        category=events["category"],
        mode=events["mode"],
        theme_session=events["session_theme"],
        theme_running=events["theme"],
    )
    kept: NDArray[np.bool_] = np.arange(events["session"].shape[1]) > first_read[:, None]
    kept &= events["session"] != PADDING
    for found in strands(tags, None, first_read + 1, spec).values():
        row, strand, at = np.nonzero(found.pos != NO_POSITION)
        kept[row, found.pos[row, strand, at]] = True
    return kept


def compact(values: NDArray[Any], kept: NDArray[np.bool_]) -> NDArray[Any]:
    """(N, L) values of the kept places, in order, at the right of zeros."""
    order = np.argsort(kept, axis=1, kind="stable")
    packed: NDArray[Any] = np.take_along_axis(values, order, axis=1)
    packed[np.arange(kept.shape[1]) < kept.shape[1] - kept.sum(axis=1, keepdims=True)] = PADDING
    return packed


def moved(place: NDArray[np.int32], kept: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(N, P) places of kept events after ``compact``; -1 stays."""
    after = kept.shape[1] - kept.sum(axis=1, keepdims=True) + np.cumsum(kept, axis=1) - 1
    found = np.take_along_axis(after, np.maximum(place, 0).astype(np.int64), axis=1)
    result: NDArray[np.int32] = np.where(place >= 0, found, NO_POSITION).astype(np.int32)
    return result
