"""Progress on stderr that a person can follow: stage, rows and elapsed time."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Stage:
    """One running stage; ``say`` adds what became known, such as row counts."""

    name: str
    notes: list[str] = field(default_factory=list)

    def say(self, note: str) -> None:
        """Add a note to the stage's closing line."""
        self.notes.append(note)


@dataclass
class Progress:
    """Prints a line when a stage begins and one when it ends, and keeps the seconds of each.

    ``before_stage`` raises where no further stage may begin.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)
    before_stage: Callable[[], None] = lambda: None

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Time a stage; a failure is named with the stage it happened in."""
        self.before_stage()
        begin = time.perf_counter()
        stage = Stage(name)
        self._print(f"{name} …")
        try:
            yield stage
        except BaseException:
            self._print(f"{name} failed after {time.perf_counter() - begin:.1f} s")
            raise
        took = time.perf_counter() - begin
        self.seconds[name] = round(self.seconds.get(name, 0.0) + took, 3)
        self._print(f"{name} done in {took:.1f} s" + "".join(f" · {note}" for note in stage.notes))

    def say(self, text: str) -> None:
        """A line between stages, such as a warning."""
        self._print(text)

    def _print(self, text: str) -> None:
        elapsed = time.perf_counter() - self.started
        print(f"[{elapsed:7.1f} s] {text}", file=sys.stderr, flush=True)  # noqa: T201
