"""What every job shares: exit statuses, one clear line per expected failure, the JSON line at the end."""

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pipelines.console import use_real_stderr
from pipelines.errors import ConfigError, SeqloomError


def run(main: Callable[[], Mapping[str, Any] | None]) -> None:
    """Call ``main`` and leave the process with its exit status; print its summary as the last line."""
    use_real_stderr()
    try:
        summary = main()
    except SeqloomError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        sys.exit(error.exit_status)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    if summary is not None:
        print(json.dumps(summary, sort_keys=False), flush=True)


def instant(text: str) -> datetime:
    """A time such as 2017-12-01 or 2017-12-01T08:00:00+08:00; UTC where it names no zone."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time; write 2017-12-01 or 2017-12-01T08:00:00Z"
        ) from None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Parser(argparse.ArgumentParser):
    """Wrong arguments end with status 2 and one line; ``--help`` keeps the examples' line breaks."""

    def __init__(self, description: str, examples: str) -> None:
        super().__init__(
            description=description,
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> Any:
        """Raise what ``run`` turns into the line and the status."""
        raise ConfigError(f"{message}; see --help")
