"""The integer codes that every table, kernel and batch shares."""

from typing import Final

PADDING: Final = 0
"""An empty place in a fixed-length array."""

UNKNOWN: Final = 1
"""An id that the vocabulary does not hold, or a missing category."""

FIRST_INDEX: Final = 2
"""The first index that names something."""

NO_THEME: Final = 1
"""A session (or a running session) without an interest, hence without a theme."""

NO_POSITION: Final = -1
"""An empty place in an array of positions."""

MODES: Final = ("browse", "intent", "purchase", "feedback")
"""Behaviour classes in the order in which equal timestamps are read; the code is the index + 1."""

MODE_CODES: Final = {name: code for code, name in enumerate(MODES, start=1)}
