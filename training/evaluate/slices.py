"""Slices of targets: where in a journey a model gains.

A column of facts per target first, masks over them after, so that a saved frame can be sliced again.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.batch import Rows, Samples
from training.evaluate.sessions import SessionFacts

Flags = NDArray[np.bool_]

PRIMARY: Final = "first_after_return"
"""The slice of the primary endpoint: returning targets."""


def slice_columns(rows: Rows, samples: Samples, facts: SessionFacts) -> pd.DataFrame:
    """Facts of N targets, one row each.

    ``history`` events visible in the target's row (a lower bound of the user's history: rows hold pools);
    ``hops`` the user's hops in sessions before the target's; ``session_start`` the target opens a session
    (targets tied with it in time do so too, since none sees another); ``hop`` whether the target's session
    hops: 1, 0, or -1 undecided; ``returning`` the target opens a session that returns to an earlier theme.
    """
    user = rows.user_id[samples.row].cpu().numpy()
    session = rows.session[samples.row, samples.place.long()].cpu().numpy().astype(np.int64)
    at = facts.find(user, session)
    opens = samples.new_session.cpu().numpy()
    return pd.DataFrame(
        {
            "history": samples.end.cpu().numpy().astype(np.int32),
            "hops": facts.hops_before[at],
            "session_start": opens,
            "hop": facts.hop[at],
            "returning": opens & facts.returns[at],
        }
    )


def _between(column: str, low: int, high: int | None = None) -> Callable[[pd.DataFrame], Flags]:
    """Mask of frames where the column is at least ``low`` and less than ``high``."""

    def mask(frame: pd.DataFrame) -> Flags:
        values = frame[column].to_numpy()
        inside: Flags = (values >= low) & (values < high if high is not None else True)
        return inside

    return mask


SLICES: Final[dict[str, Callable[[pd.DataFrame], Flags]]] = {
    "all": lambda frame: np.ones(len(frame), dtype=bool),
    "first_of_session": _between("session_start", 1),
    PRIMARY: _between("returning", 1),
    "within_session": _between("session_start", 0, 1),
    "hopping": _between("hop", 1),
    "not_hopping": _between("hop", 0, 1),
    "history_0_9": _between("history", 0, 10),
    "history_10_49": _between("history", 10, 50),
    "history_50_199": _between("history", 50, 200),
    "history_200_up": _between("history", 200),
    "hops_0": _between("hops", 0, 1),
    "hops_1_4": _between("hops", 1, 5),
    "hops_5_up": _between("hops", 5),
}
"""Name -> mask of the targets in the slice (edges: our choice)."""
