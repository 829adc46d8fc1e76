"""Returns: hops back to a theme that the user had left, and how many sessions lie in between."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.codes import FIRST_INDEX


@dataclass(frozen=True)
class ThemesSeen:
    """Themes of a user's sessions so far, ascending, with the ordinal of the last session of each."""

    theme: NDArray[np.int32]
    ordinal: NDArray[np.int32]


NOTHING_SEEN: Final = ThemesSeen(np.zeros(0, np.int32), np.zeros(0, np.int32))
"""A user's themes before the first session."""


def find_returns(
    user: NDArray[np.int64],
    ordinal: NDArray[np.int32],
    theme: NDArray[np.int32],
    theme_before: NDArray[np.int32],
    is_hop: NDArray[np.bool_],
    *,
    seen: ThemesSeen = NOTHING_SEEN,
) -> tuple[NDArray[np.bool_], NDArray[np.int32], ThemesSeen]:
    """Which of S sessions return, after how many sessions, and the themes that the last user has seen.

    Arrays (S,) are sorted by user (ascending numbers) and ordinal; ``theme_before`` is the theme of
    the user's session before, below 2 where there is none. ``seen`` belongs to the first user, whose
    earlier sessions are not among these. A return is a hop to a theme, other than the theme before,
    that an earlier session has; its lag counts the sessions in between (A B A gives 1), 0 for others.
    """
    named = np.flatnonzero(theme >= FIRST_INDEX)
    old = len(seen.theme)
    first = user[0] if len(user) else 0
    users = np.concatenate([np.full(old, first, dtype=np.int64), user[named]])
    themes = np.concatenate([seen.theme, theme[named]])
    ordinals = np.concatenate([seen.ordinal, ordinal[named]])
    order = np.lexsort((ordinals, themes, users))
    same = np.zeros(len(order), dtype=bool)
    same[1:] = (np.diff(users[order]) == 0) & (np.diff(themes[order]) == 0)
    last = np.zeros(len(order), dtype=np.int32)  # ordinal of the theme's session before, 0 without
    last[order[1:]] = np.where(same[1:], ordinals[order[:-1]], 0)
    earlier = np.zeros(len(user), dtype=np.int32)
    earlier[named] = last[old:]
    returns = is_hop & (theme_before >= FIRST_INDEX) & (theme != theme_before) & (earlier > 0)
    lag = np.where(returns, ordinal - earlier - 1, 0).astype(np.int32)
    newest = order[np.append(~same[1:], True)] if len(order) else order
    newest = newest[users[newest] == (user[-1] if len(user) else 0)]
    return returns, lag, ThemesSeen(themes[newest], ordinals[newest])
