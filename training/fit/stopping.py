"""Early stopping on what validation measures."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from training.errors import DataError


@dataclass(frozen=True)
class Stopper:
    """The best validation so far, and how many have passed since; of all metrics more is better."""

    metric: str
    patience: int  # validations without a better one that end the run; 0 never ends it
    min_delta: float = 0.0  # a better value is better by more than this
    best: float | None = None
    best_step: int = -1
    since: int = 0

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return 0 < self.patience <= self.since

    def after(self, value: float, step: int) -> Self:
        """The state after a validation at ``step``; a NaN is never better."""
        if (self.best is None and not math.isnan(value)) or self.improves(value):
            return replace(self, best=value, best_step=step, since=0)
        return replace(self, since=self.since + 1)

    def value_in(self, figures: Mapping[str, float]) -> float:
        """The deciding figure; DataError where the validation window holds no target of its slice."""
        if self.metric not in figures:
            raise DataError(
                f"validation.metric = {self.metric!r}: the validation window has no such target; measured: "
                f"{', '.join(figures)}"
            )
        return figures[self.metric]

    def improves(self, value: float) -> bool:
        """Whether ``value`` beats the best by more than ``min_delta``."""
        return self.best is not None and (value - self.best) > self.min_delta
