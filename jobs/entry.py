"""What every job shares: exit statuses, one clear line per expected failure, the JSON line at the end."""

import argparse
import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pipelines.errors import ConfigError, SeqloomError


class JvmStderr(io.TextIOBase):
    """The stderr of the JVM that started this process, line by line.

    spark-submit reads its Python child's stderr and stdout as one stream and writes both to stdout, where
    only the summary belongs.
    """

    def __init__(self, print_: Callable[[str], None]) -> None:
        self._print = print_

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Hand the text to the JVM, which flushes at once."""
        if text:
            self._print(text)
        return len(text)


def use_real_stderr() -> None:
    """Under spark-submit, let ``sys.stderr`` end where a person's ``2>`` points."""
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        return
    from pyspark import SparkContext  # noqa: PLC0415

    SparkContext._ensure_initialized()
    jvm: Any = SparkContext._jvm
    sys.stderr = JvmStderr(jvm.System.err.print)


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
