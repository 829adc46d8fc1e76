"""When what is learned: MoS trains in stages (PAPERS.md [D]); their lengths are our choice."""

from dataclasses import dataclass
from enum import IntEnum


class Stage(IntEnum):
    """What tags a session with its theme, and what still moves."""

    THEMES = 0
    """The pipeline's themes; the codebook follows them."""
    CODES = 1
    """The nearest codes, which move; dead ones are put elsewhere."""
    GATE = 2
    """The nearest codes, fixed, and the loss is the mixture's alone: the gate is tuned to the codes.

    The other weights go on learning: freezing them changed nothing (returns' hit rate 0.585 against
    0.584 to 0.597 on the tests' chains), and every weight keeps a gradient on every device."""


@dataclass(frozen=True)
class Stages:
    """Shares of all steps that the first two stages take; the rest is the last one's."""

    themes: float = 0.6
    codes: float = 0.3

    def __post_init__(self) -> None:
        if min(self.themes, self.codes) < 0 or self.themes + self.codes > 1:
            raise ValueError(f"stages {self.themes} and {self.codes} are no shares of one run")

    def at(self, step: int, total: int) -> Stage:
        """The stage of ``step`` (from 0) of ``total``.

        >>> [Stages(0.5, 0.25).at(step, 4).name for step in range(4)]
        ['THEMES', 'THEMES', 'CODES', 'GATE']
        """
        if step < self.themes * total:
            return Stage.THEMES
        return Stage.CODES if step < (self.themes + self.codes) * total else Stage.GATE
