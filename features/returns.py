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
