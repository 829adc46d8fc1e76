"""Where a job's words go when spark-submit runs it."""

import io
import os
import sys
from collections.abc import Callable
from typing import Any


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
