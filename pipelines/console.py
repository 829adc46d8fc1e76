"""Where a job's words go when spark-submit runs it, and how a job leaves that has no Spark."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """Leave the process with the block's exit status, without tearing the interpreter down.

    For a job that ends as soon as it has read. delta-rs reads through a file system made in Python, which
    pyarrow's threads may still hold then: now and again that ended in "terminate called without an active
    exception" and status -6.
    """
    status = 0
    try:
        yield
    except SystemExit as leave:
        status = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
