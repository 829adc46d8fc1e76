"""The palette: seven hues that stay apart for colour-blind eyes (after Okabe and Ito), in light and dark.

Lines and marks keep a contrast of 3:1 to the page, text 4.5:1 (WCAG 2.2 AA); ``tests/features/test_page.py``
computes it. A colour never speaks alone: whatever it tells is also written or told by a place or a shape.
"""

from typing import Final

LIGHT: Final = {
    "page": "#fbfbf9",
    "card": "#ffffff",
    "ink": "#1b1c1e",
    "soft": "#5a5e64",
    "line": "#e2e2de",
    "axis": "#8a8d91",
    "good": "#00704f",
    "good-wash": "#e5f3ed",
    "bad": "#b3261e",
    "bad-wash": "#fbeae8",
    "warn-wash": "#fbf3df",
    "mute": "#8f9297",
    "c1": "#0067a5",
    "c2": "#c65000",
    "c3": "#00845f",
    "c4": "#b3568d",
    "c5": "#8f6a00",
    "c6": "#2b8fbf",
    "c7": "#6a4c9c",
}
"""Colours on a light page, by the name of the CSS variable (``--c1``)."""

DARK: Final = {
    "page": "#14161a",
    "card": "#1a1d22",
    "ink": "#eceae6",
    "soft": "#a9adb4",
    "line": "#2d3138",
    "axis": "#7c828b",
    "good": "#5fd0a5",
    "good-wash": "#12302a",
    "bad": "#ff8f86",
    "bad-wash": "#3a1d1d",
    "warn-wash": "#35301c",
    "mute": "#7f858d",
    "c1": "#56b4e9",
    "c2": "#f08a3c",
    "c3": "#2fbd8f",
    "c4": "#e08dbb",
    "c5": "#e3c04a",
    "c6": "#8fd3f5",
    "c7": "#b39ddb",
}
"""The same names on a dark page."""

SERIES: Final = ("c1", "c2", "c3", "c4", "c5", "c6", "c7")
"""Names of the hues for categories, in the order to take them."""


def colour(name: str) -> str:
    """The CSS value that follows the reader's theme: ``var(--c1)`` for ``c1``."""
    if name not in LIGHT:
        raise KeyError(f"{name!r} is no colour of the palette; known: {', '.join(LIGHT)}")
    return f"var(--{name})"


def contrast(one: str, other: str) -> float:
    """WCAG's contrast of two colours such as ``#1b1c1e``, from 1 to 21.

    >>> round(contrast("#000000", "#ffffff"), 1)
    21.0
    """
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(text: str) -> float:
    channels = [int(text[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
