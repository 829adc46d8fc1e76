"""Pools, chunks and targets by the definition, with sets and nothing clever."""

from features.spec import SequenceSpec
from tests.oracles.strands import Event, strands


def visible(history: list[Event], target: int) -> int:
    """How many events the target may see: those strictly before it in time."""
    return sum(event.ts < history[target].ts for event in history)


def prefix_pool(history: list[Event], x: int, spec: SequenceSpec) -> set[int]:
    """P(x): what the strands of the first x events may read."""
    pool: set[int] = set()
    for family in spec.families:
        if family.name != "theme":
            pool.update(at for _, places in strands(history, x, family) for at in places)
            continue
        last = history[x - 1]
        closed = [at for at in range(x) if history[at].session < last.session]
        themes: list[int] = []
        for at in reversed(closed):
            if history[at].theme_session not in themes and history[at].theme_session >= 2:
                themes.append(history[at].theme_session)
        for theme in {last.theme_running, *themes[: family.strands]} - {1}:
            pool.update([at for at in closed if history[at].theme_session == theme][-family.length :])
    return pool


def chunk_pool(history: list[Event], a: int, b: int, spec: SequenceSpec) -> set[int]:
    """The pool of the chunk that owns the targets [a, b)."""
    prefixes = {visible(history, a), *range(a + 1, b + 1)}
    return set(range(a, b)).union(*(prefix_pool(history, x, spec) for x in prefixes))


def chunks(history: list[Event], spec: SequenceSpec) -> list[tuple[int, int, list[int]]]:
    """(a, b, pool) of every chunk, greedily."""
    size = len(history)
    a = next((at for at in range(size) if visible(history, at) > 0), size)
    if a == size:
        return [(size, size, sorted(prefix_pool(history, size, spec)))]
    found = []
    while a < size:
        b = a + 1
        assert len(chunk_pool(history, a, b, spec)) <= spec.pool, "one target must fit"
        while b < size and b - a < spec.targets and len(chunk_pool(history, a, b + 1, spec)) <= spec.pool:
            b += 1
        found.append((a, b, sorted(chunk_pool(history, a, b, spec))))
        a = b
    return found
