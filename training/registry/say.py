"""Progress for a person, on stderr."""

import sys


def say(text: str) -> None:
    """One line."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201
