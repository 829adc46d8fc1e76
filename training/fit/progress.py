"""What a person sees on stderr while a model trains."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

SHOWN: Final = (
    "hr_10",
    "ndcg_10",
    "mrr_10",
    "coverage_ceiling",
    "gauc",
    "auc",
    "log_loss",
)
"""Figures of an evaluation that are worth a line of progress."""


@dataclass
class Meter:
    """Samples and time since the last report; ``waiting`` is the time spent blocked on the loader."""

    samples: int = 0
    waited: float = 0.0  # seconds
    began: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Wall time since the meter began."""
        return max(time.perf_counter() - self.began, 1e-9)

    def figures(self) -> dict[str, float]:
        """Samples a second and the share of the time spent waiting for data."""
        return {"samples_per_second": self.samples / self.seconds, "waiting": self.waited / self.seconds}


class Reporter:
    """Lines on stderr, from one rank only."""

    def __init__(self, speaks: bool = True) -> None:
        self._speaks = speaks
        self._began = time.perf_counter()

    def say(self, text: str) -> None:
        """One line with the time since the start."""
        if self._speaks:
            elapsed = time.perf_counter() - self._began
            print(f"[{elapsed:7.1f} s] {text}", file=sys.stderr, flush=True)  # noqa: T201

    def step(self, step: int, steps: int, figures: Mapping[str, float], seconds_a_step: float) -> None:
        """How training goes: loss, speed, waiting, rate and the time to the last step."""
        self.say(
            f"step {step:,}/{steps:,} · loss {figures['loss']:.4f} · "
            f"{figures['samples_per_second']:,.0f} samples/s · waiting for data {figures['waiting']:.1%} · "
            f"lr {figures['learning_rate']:.2e} · {left((steps - step) * seconds_a_step)} left"
        )

    def validation(
        self, step: int, metric: str, figures: Mapping[str, float], best: bool, took: float
    ) -> None:
        """What validation found; the metric that decides comes first."""
        mark = "  ← best so far" if best else ""
        self.say(f"validation after step {step:,} · {shown(figures, metric)} · {took:.1f} s{mark}")

    def test(self, figures: Mapping[str, float], took: float) -> None:
        """What the best weights reach on the test window."""
        self.say(f"test · {shown(figures)} · {took:.1f} s")


def shown(figures: Mapping[str, float], first: str | None = None) -> str:
    """The figures that matter most, ``first`` before the others."""
    names = [first] if first else []
    names += [name for start in SHOWN for name in figures if name == start or name.startswith(f"{start}_")]
    return " · ".join(f"{name} {figures[name]:.4f}" for name in dict.fromkeys(names))


def left(seconds: float) -> str:
    """A rough duration.

    >>> left(42), left(100), left(4000)
    ('42 s', '1 min 40 s', '1 h 6 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
