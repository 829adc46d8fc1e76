"""Intervals drawn in a line of text, with zero marked."""

from collections.abc import Sequence

WIDTH = 15
ZERO, LINE, CROSS, DOT = "│", "─", "┼", "●"


def strip(low: float, estimate: float, high: float, reach: float, width: int = WIDTH) -> str:
    """An interval from ``-reach`` to ``reach`` in ``width`` signs: its ends, its estimate and zero.

    >>> strip(-0.5, -0.25, 0.0, 1.0, 9)
    '  ─●┼    '
    >>> strip(0.5, 0.75, 1.0, 1.0, 9)
    '    │ ─●─'
    >>> strip(-0.5, 0.5, 1.0, 1.0, 9)
    '  ──┼─●──'
    """

    def place(value: float) -> int:
        share = (value + reach) / (2 * reach) if reach else 0.5
        return min(width - 1, max(0, round(share * (width - 1))))

    signs = [" "] * width
    signs[width // 2] = ZERO
    for at in range(place(low), place(high) + 1):
        signs[at] = LINE if signs[at] == " " else CROSS
    signs[place(estimate)] = DOT
    return "".join(signs)


def reach_of(intervals: Sequence[tuple[float, float]]) -> float:
    """The largest distance of an interval's end from zero."""
    return max((abs(end) for ends in intervals for end in ends), default=0.0)
