"""Splits by time: a target belongs to the split in which it happened, whatever its row holds besides."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from training.errors import ConfigError

FOREVER: Final = 2**62


@dataclass(frozen=True)
class Split:
    """Targets with ``start <= ts < end``, in unix seconds; what they see may be older."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Splits:
    """Train before ``train_end``, validation up to ``valid_end``, test from there up to ``end``.

    Unix seconds. The table's times are floored to the second, so a boundary inside a second would send
    all of that second to the later split; a boundary is therefore floored too.
    """

    train_end: int
    valid_end: int
    end: int

    def __post_init__(self) -> None:
        if not self.train_end < self.valid_end <= self.end:
            raise ConfigError(
                f"splits must ascend, but train_end = {self.train_end}, valid_end = {self.valid_end}, "
                f"end = {self.end} (unix seconds); choose times inside the data"
            )

    @classmethod
    def of(
        cls,
        fit_end: datetime,
        as_of: datetime,
        train_end: datetime | None = None,
        valid_end: datetime | None = None,
        test_end: datetime | None = None,
        *,
        holdout: timedelta | None = None,
    ) -> "Splits":
        """Splits of a publication: by default train up to the fit's ``train_end``, then two halves by time.

        ``holdout`` moves the default to that long before ``as_of``, where this is later. ConfigError where
        ``train_end`` lies before the fit's: themes and vectors would know the future.
        """
        train = train_end or (fit_end if holdout is None else max(fit_end, as_of - holdout))
        if train < fit_end:
            raise ConfigError(
                f"train_end = {train.isoformat()} lies before the fit's {fit_end.isoformat()}, whose themes "
                "have seen what lies between; choose a later one, or refit with [fit] train_end"
            )
        # Nothing at or after as_of is in the table.
        last = int(test_end.timestamp()) if test_end else int(as_of.timestamp()) + 1
        first = int(train.timestamp())
        middle = int(valid_end.timestamp()) if valid_end else (first + last) // 2
        return cls(first, middle, last)

    @property
    def train(self) -> Split:
        """Targets to learn from."""
        return Split("train", -FOREVER, self.train_end)

    @property
    def valid(self) -> Split:
        """Targets to choose by."""
        return Split("valid", self.train_end, self.valid_end)

    @property
    def test(self) -> Split:
        """Targets to report on, once."""
        return Split("test", self.valid_end, self.end)


EVERYTHING: Final = Split("all", -FOREVER, FOREVER)
"""All targets, for tests and for counting."""
