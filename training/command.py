"""What the commands of training share: a parser whose errors are one line, and progress on stderr."""

import argparse
import sys
from typing import NoReturn

from training.errors import ConfigError


class Parser(argparse.ArgumentParser):
    """Wrong arguments raise what the command turns into one line and status 2."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError."""
        raise ConfigError(f"{message}; see --help")


def say(text: str) -> None:
    """One line for a person, on stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201
