"""How long rows took from their arrival to the commit that published them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import numpy as np
from pyspark.sql import Column
from pyspark.sql import functions as F

STEPS: Final = 100
"""Quantiles that are kept of a batch's arrivals, in steps of 1 %."""


def arrival_quantiles() -> Column:
    """Aggregate: ``STEPS + 1`` quantiles of ``arrived``, in unix milliseconds, the earliest first."""
    shares = [step / STEPS for step in range(STEPS + 1)]
    return F.percentile_approx(F.unix_millis("arrived"), shares, 10_000)


@dataclass
class Delays:
    """Delays in seconds; each weighs as the rows that it stands for."""

    seconds: list[float] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def add(self, arrived_ms: Sequence[int], rows: int, committed: datetime) -> None:
        """A batch's rows, given the quantiles of their arrival."""
        now = committed.timestamp()
        self.seconds += [max(now - at / 1000, 0.0) for at in arrived_ms]
        self.weights += [rows / len(arrived_ms)] * len(arrived_ms)

    def merge(self, other: "Delays") -> None:
        """Take in another one's delays."""
        self.seconds += other.seconds
        self.weights += other.weights

    def quantile(self, share: float) -> float | None:
        """The delay in seconds that ``share`` of the rows stay within; None without rows."""
        if not self.seconds:
            return None
        seconds, weights = np.array(self.seconds), np.array(self.weights)
        order = np.argsort(seconds, kind="stable")
        reached = np.cumsum(weights[order])
        place = int(np.searchsorted(reached, share * reached[-1]))
        return float(seconds[order][min(place, len(order) - 1)])

    def to_text(self) -> str:
        """``delay p50 1.2 s, p99 3.4 s``."""
        middle, high = self.quantile(0.5), self.quantile(0.99)
        return "no delay known" if middle is None else f"delay p50 {middle:.1f} s, p99 {high:.1f} s"
