"""Hop test and returns of one user in plain Python, session by session."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tests.oracles.themes import Vector, add

UNIT = 2.0**-16


def size_class(size: int) -> str:
    return {1: "1", 2: "2", 3: "3-4", 4: "3-4"}.get(size, "5-8")


def distance(left: Sequence[Vector], right: Sequence[Vector]) -> float | None:
    """1 - cosine of the sums of two sides; None where one is empty or cancels out."""
    if not left or not right:
        return None
    a, b = add(left, len(left[0])), add(right, len(right[0]))
    if not any(a) or not any(b):
        return None
    a, b = [x * UNIT for x in a], [x * UNIT for x in b]
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    cosine = dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    return 1.0 - max(-1.0, min(1.0, cosine))


def p_value(null: Sequence[float], d: float) -> float:
    return (1 + sum(x >= d for x in null)) / (1 + len(null))


@dataclass
class Tested:
    distance: float | None = None
    p: float | None = None
    is_hop: bool | None = None
    is_return: bool | None = None
    lag: int | None = None


def tag_user(
    sessions: Sequence[Sequence[Vector | None]],
    themes: Sequence[int],
    nulls: dict[tuple[str, str], list[float]],
    alpha: float,
) -> list[Tested]:
    """What the sessions row says of each session of a user; None is undecided."""
    found = []
    for i, session in enumerate(sessions):
        row = Tested()
        if i > 0:
            left = [v for v in sessions[i - 1] if v is not None][-8:]
            right = [v for v in session if v is not None][:8]
            row.distance = distance(left, right)
            if row.distance is not None:
                null = nulls.get((size_class(len(left)), size_class(len(right))), [])
                if len(null) >= 200 and p_value(null, max(null)) <= alpha:
                    row.p = p_value(null, row.distance)
                    row.is_hop = row.p <= alpha
                    row.is_return = False
        if row.is_hop and themes[i] >= 2 and themes[i - 1] >= 2 and themes[i] != themes[i - 1]:
            earlier = [j for j in range(i) if themes[j] == themes[i]]
            if earlier:
                row.is_return, row.lag = True, i - earlier[-1] - 1
        found.append(row)
    return found
