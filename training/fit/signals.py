"""A first SIGTERM or SIGINT asks the run to save and leave; a second one ends it at once."""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Final, TypeVar

Item = TypeVar("Item")
STDERR: Final = 2


class CutShortError(Exception):
    """Raised where a signal cuts a validation short."""


@dataclass
class Stop:
    """Whether a signal came, and which."""

    signal_number: int = 0

    @property
    def asked(self) -> bool:
        """Whether the run should save and leave."""
        return self.signal_number != 0

    def watch(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, until a signal comes; then CutShortError."""
        for item in items:
            if self.asked:
                raise CutShortError
            yield item


@contextmanager
def listening() -> Iterator[Stop]:
    """Catch SIGTERM and SIGINT inside the block; the handlers before it come back after."""
    stop = Stop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def ask(number: int, _: FrameType | None) -> None:
        stop.signal_number = number
        signal.signal(number, before[signal.Signals(number)] or signal.SIG_DFL)
        # Not print: the signal may have come in the middle of one, whose buffer can't be entered again.
        told = f"\n{signal.Signals(number).name}: saving after this step; once more ends at once\n"
        with suppress(OSError):  # whoever read it is gone; the run is saved all the same
            os.write(STDERR, told.encode())

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
