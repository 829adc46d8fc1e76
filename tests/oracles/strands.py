"""Strands by the definition, one history at a time; shares nothing with the kernel."""

from typing import NamedTuple

from features.spec import FamilySpec


class Event(NamedTuple):
    """One event of one user's history."""

    ts: int  # µs
    item: int
    category: int
    mode: int
    session: int
    theme_session: int
    theme_running: int


def tags(history: list[Event], v: int, family: str) -> list[int]:
    """The key of each of the first v events, as seen from behind event v − 1."""
    seen = history[:v]
    if family == "recent":
        return [1] * v
    if family != "theme":
        return [getattr(event, family) for event in seen]
    last = seen[-1]
    return [last.theme_running if event.session == last.session else event.theme_session for event in seen]


def strands(history: list[Event], v: int, family: FamilySpec) -> list[tuple[int, list[int]]]:
    """(key, history positions) of each strand of the first v events, newest key first."""
    keys = tags(history, v, family.name) if v else []
    recent: list[int] = []
    for key in reversed(keys):
        if key not in recent and key >= family.min_key:
            recent.append(key)
    return [
        (key, [at for at in range(v) if keys[at] == key][-family.length :])
        for key in recent[: family.strands]
    ]
