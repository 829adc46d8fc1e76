"""Returns: hops back to a theme that the user had left, and how many sessions lie in between."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.codes import FIRST_INDEX


@dataclass(frozen=True)
class ThemesSeen:
    """Themes of users' sessions so far, by user and theme, with the ordinal of the last session of each."""

    user: NDArray[np.int64]
    theme: NDArray[np.int32]
    ordinal: NDArray[np.int32]

    def of(self, users: NDArray[np.bool_], number: NDArray[np.int64]) -> "ThemesSeen":
        """What the chosen of U users have seen, who get new numbers; both (U,)."""
        own = users[self.user]
        return ThemesSeen(number[self.user[own]], self.theme[own], self.ordinal[own])


NOTHING_SEEN: Final = ThemesSeen(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32))
"""The themes before a first session."""


def find_returns(
    user: NDArray[np.int64],
    ordinal: NDArray[np.int32],
    theme: NDArray[np.int32],
    theme_before: NDArray[np.int32],
    is_hop: NDArray[np.bool_],
    *,
    seen: ThemesSeen = NOTHING_SEEN,
) -> tuple[NDArray[np.bool_], NDArray[np.int32], ThemesSeen]:
    """Which of S sessions return, after how many sessions, and the themes that all users have seen.

    Arrays (S,) are sorted by user (ascending numbers) and ordinal; ``theme_before`` is the theme of
    the user's session before, below 2 where there is none. ``seen`` is of users' earlier sessions, which
    are not among these; its users are numbered like theirs. A return is a hop to a theme, other than the
    theme before, that an earlier session has; its lag counts the sessions in between (A B A gives 1), 0 for
    others.
    """
    named = np.flatnonzero(theme >= FIRST_INDEX)
    old = len(seen.theme)
    users = np.concatenate([seen.user, user[named]])
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
    return returns, lag, ThemesSeen(users[newest], themes[newest], ordinals[newest])
