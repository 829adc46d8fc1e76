"""Seeds for each use, far apart however near the numbers are that they come from."""

import numpy as np


def seed_of(*use: int) -> int:
    """A seed in [0, 2^62) for what these numbers name, the run's seed among them.

    >>> seed_of(17, 0, 1) == seed_of(17, 0, 1) != seed_of(17, 1, 0)
    True
    """
    return int(np.random.SeedSequence(use).generate_state(1, np.uint64)[0] >> np.uint64(2))
