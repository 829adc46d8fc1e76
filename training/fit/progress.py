"""What a person sees on stderr while a model trains."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field


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
        rest = [f"{name} {value:.4f}" for name, value in figures.items() if name != metric][:5]
        mark = "  ← best so far" if best else ""
        shown = " · ".join([f"{metric} {figures[metric]:.4f}", *rest])
        self.say(f"validation after step {step:,} · {shown} · {took:.1f} s{mark}")


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
