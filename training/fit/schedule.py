"""Learning rates as pure functions of the step, so that a resumed run needs no scheduler's state."""

import math
from typing import Literal

Shape = Literal["one_cycle", "constant"]

START_FRACTION = 1 / 25
"""A run begins at this share of the peak, and a one-cycle run ends at 1e-4 of its start (PyTorch's own
defaults of OneCycleLR)."""

END_FRACTION = START_FRACTION * 1e-4


def learning_rate(step: int, steps: int, peak: float, warmup: float, shape: Shape) -> float:
    """The rate of optimiser step ``step`` of ``steps``, counted from 0.

    ``warmup`` is the share of the steps over which the rate rises, by a cosine, to ``peak``. Then
    ``one_cycle`` falls by a cosine to nearly nothing (Smith & Topin 2018, as in PyTorch's OneCycleLR),
    and ``constant`` stays.
    """
    top = warmup * steps - 1
    if step < top:
        return _cosine(START_FRACTION * peak, peak, step / top)
    if shape == "constant":
        return peak
    return _cosine(peak, END_FRACTION * peak, (step - top) / (steps - 1 - top) if steps - 1 > top else 1.0)


def _cosine(start: float, end: float, way: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * way))
