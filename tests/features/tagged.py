"""Random histories with every hard case in small, and blocks cut from them with their theme tags."""

from collections.abc import Iterable
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from features.block import EventBlock
from features.spec import FamilySpec, SequenceSpec
from tests.oracles.strands import Event

Tagged = tuple[EventBlock, Any, Any]


KEYED = ("session", "theme", "category", "mode")


def small_spec(
    recent: int = 4,
    strands: int = 2,
    length: int = 2,
    targets: int = 3,
    *,
    extra: int = 0,
    keyed: Iterable[str] = KEYED,
) -> SequenceSpec:
    """The smallest pool that the families may have, and `extra`: one family less closes chunks sooner."""
    families = (FamilySpec("recent", 1, recent), *(FamilySpec(name, strands, length) for name in keyed))
    pool = 2 * sum(family.lookback for family in families) + 1 + extra
    return SequenceSpec(pool, targets, tuple(sorted({recent, pool // 2, pool})), families)


def history(steps: Iterable[tuple[int, bool, int, int, int]], start: int = 1_000_000) -> list[Event]:
    """A history from (gap in µs, new session, category, mode, running theme) per event."""
    drafts, ts, session = [], start, 1
    for at, (gap, cut, category, mode, theme) in enumerate(steps):
        ts += gap
        session += cut and at > 0
        drafts.append(Event(ts, at + 2, category, mode, session, 0, theme))
    return closed(drafts)


def closed(drafts: list[Event]) -> list[Event]:
    """The history with every session's final theme set to its last running one."""
    final = {event.session: event.theme_running for event in drafts}
    return [event._replace(theme_session=final[event.session]) for event in drafts]


@st.composite
def histories(draw: st.DrawFn, most: int = 40) -> list[Event]:
    """One user: ties, unknown categories, theme flips inside sessions, returns, long equal times."""
    gaps = draw(st.sampled_from([(0, 1), (0, 0, 0, 0, 0, 0, 0, 1), (1, 700_000), (0,)]))
    cuts = draw(st.sampled_from([(True, False), (False, False, False, False, True), (True,), (False,)]))
    keys = draw(st.integers(1, 9))
    step = st.tuples(
        st.sampled_from(gaps),
        st.sampled_from(cuts),
        st.integers(1, keys),
        st.integers(1, min(keys, 4)),
        st.integers(1, keys),
    )
    return history(draw(st.lists(step, min_size=1, max_size=most)))


specs = st.builds(
    small_spec,
    recent=st.integers(2, 5),
    strands=st.integers(1, 3),
    length=st.integers(1, 2),
    targets=st.integers(1, 20),
    extra=st.integers(0, 5),
    keyed=st.lists(st.sampled_from(KEYED), unique=True, max_size=4),
)


def random_history(rng: np.random.Generator, size: int) -> list[Event]:
    """A long history with many keys, drawn from a seed."""
    ties, cuts, keys = rng.choice([0.0, 0.3, 0.9]), rng.choice([0.02, 0.2, 0.6]), int(rng.integers(2, 30))
    skew = np.minimum(rng.geometric(0.2, (size, 3)), keys)
    return history(
        (
            int(rng.random() >= ties) * int(rng.integers(1, 3_000_000)),
            bool(rng.random() < cuts),
            int(skew[at, 0]),
            1 + int(skew[at, 1]) % 4,
            int(skew[at, 2]),
        )
        for at in range(size)
    )


def blocks(users: dict[str, list[Event]], cuts: set[int]) -> list[Tagged]:
    """Blocks with their running and session themes; cut before the sessions whose number is in cuts."""
    sessions = [
        (user, list(events))
        for user, whole in users.items()
        for _, events in groupby(whole, lambda event: event.session)
    ]
    bounds = [0, *sorted(cut for cut in cuts if 0 < cut < len(sessions)), len(sessions)]
    taken = dict.fromkeys(users, 0)
    found = []
    for low, high in pairwise(bounds):
        part = sessions[low:high]
        counts = dict.fromkeys((user for user, _ in part), 0)
        for user, events in part:
            counts[user] += len(events)
        ordinals = [taken[user] + at + 1 for user, count in counts.items() for at in range(count)]
        for user, count in counts.items():
            taken[user] += count
        rows = [event for _, events in part for event in events]
        columns = {name: np.array([getattr(event, name) for event in rows], np.int32) for name in TAGS}
        block = EventBlock(
            list(counts),
            np.cumsum([0, *counts.values()]),
            pa.array([f"e{at}" for at in range(len(rows))]),
            np.array([event.ts for event in rows], np.int64),
            columns["item"],
            columns["category"],
            columns["mode"],  # the type: any code will do
            columns["mode"],
            np.array(ordinals, np.int32),
            columns["session"],
            continued=low > 0 and sessions[low - 1][0] == sessions[low][0],
            unfinished=high < len(sessions) and sessions[high - 1][0] == sessions[high][0],
        )
        found.append((block, columns["theme_running"], columns["theme_session"]))
    return found


TAGS = ("item", "category", "mode", "session", "theme_running", "theme_session")
