"""Users whose history goes on: matching what is known of them to a block of their further events."""

import numpy as np
from numpy.typing import NDArray

from features.block import EventBlock


def places(known: list[str] | None, block: EventBlock) -> NDArray[np.int64]:
    """Which users of the block those with a known state are; shape (known,).

    ValueError where one of them is not in the block, or a user that the block before cut is not among them:
    then the rows would be wrong.
    """
    own = {user: at for at, user in enumerate(block.user_ids)}
    found = np.array([own.get(user, -1) for user in known or []], dtype=np.int64)
    if (found < 0).any() or (block.continued and 0 not in found):
        missing = [user for user in known or [] if user not in own]
        raise ValueError(
            f"{'the state is of ' + repr(missing[0]) if missing else 'no state is given of the first user'}, "
            f"but the block {'continues' if block.continued else 'begins with'} user {block.user_ids[0]!r}; "
            "pass blocks in order, each with the state that the block before returned"
        )
    return found


def first_going_on(block: EventBlock, everyone: bool) -> int:
    """Number of the block's first user who goes on; only the last one may, unless ``everyone`` does."""
    return 0 if everyone else len(block.user_ids) - block.unfinished
