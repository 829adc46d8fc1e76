"""What a broken machine does to a run, in one line that says what to do about it."""

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from py4j.protocol import Py4JError, Py4JNetworkError
from pyspark import SparkContext

from pipelines.errors import LockedError, SeqloomError, WarehouseError
from pipelines.lock import Lock, local_folder

JVM_END_SECONDS: Final = 2.0
"""How long a JVM that broke off its connection may take to be gone."""

MB: Final = 1_000_000

_FULL: Final = ("No space left on device", "Disk quota exceeded", "(os error 28)")
_UNPUBLISHED: Final = "nothing was published, and the next run undoes what this one wrote"


@contextmanager
def told_plainly(root: str, lock: Lock | None = None) -> Iterator[None]:
    """Say in one line what a full disk, a lost JVM or Python worker, or another run makes of a block.

    Raises LockedError where the run has lost ``lock`` meanwhile: whatever failed then, that is why. An error
    without such a cause passes as it is.
    """
    try:
        yield
    except Exception as error:
        if lock is not None and not isinstance(error, LockedError):
            _require_still_held(lock, error)
        known = _explained(error, root)
        if known is None:
            raise
        raise known from error


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or one that led to it, comes from a disk without room.

    >>> is_disk_full(OSError(28, "No space left on device"))
    True
    """
    return any(
        getattr(each, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        or any(sign in _words(each) for sign in _FULL)
        for each in _chain(error)
    )


def is_lost_worker(text: str) -> bool:
    """Whether Spark's words for a failure mean that a Python worker went: at work, or as it was greeted.

    >>> is_lost_worker("java.io.EOFException at org.apache.spark.api.python.PythonWorkerFactory.create")
    True
    """
    broken_off = "EOFException" in text and "PythonWorkerFactory." in text
    reset = "SocketException" in text and "spark.api.python." in text
    return "Python worker exited unexpectedly" in text or broken_off or reset


def _explained(error: Exception, root: str) -> SeqloomError | None:
    told = isinstance(error, SeqloomError)
    if any(sign in str(error) for sign in _FULL) if told else is_disk_full(error):
        return WarehouseError(
            f"a disk is full: {', '.join(_room(root))}; {_UNPUBLISHED}: make room there, or give Spark "
            "another folder for its scratch (SPARK_LOCAL_DIRS=DIR), then run again"
        )
    if told:
        return None
    end = _jvm_end(error)
    if end is not None:
        return SeqloomError(
            f"Spark's JVM ended before the run did ({end}); {_UNPUBLISHED}: run again; "
            "where the system's log tells of too little memory, with more of it or less beside the run"
        )
    if any(is_lost_worker(_words(each)) for each in _chain(error)):
        return SeqloomError(
            f"a Python worker ended before its task did, by a signal or for want of memory; {_UNPUBLISHED}: "
            "run again, with a smaller spark.events_per_partition if it comes back"
        )
    return None


def _require_still_held(lock: Lock, error: Exception) -> None:
    try:
        lock.require_held()
    except LockedError as lost:
        raise lost from error


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            left += [each.__cause__, each.__context__]


def _words(error: BaseException) -> str:
    """What an error says; one of Java's asks its JVM for that, and says nothing where this is gone."""
    try:
        return str(error)
    except (Py4JError, OSError):
        return ""


def _room(root: str) -> list[str]:
    """What is free where a run writes on this machine, the fullest disk first."""
    places = {"Spark's scratch": _scratch()}
    warehouse = local_folder(root)
    if warehouse is not None:
        places = {"the warehouse": warehouse} | places
    usage = {f"{name} {place}": shutil.disk_usage(place) for name, place in places.items() if place.exists()}
    ranked = sorted(usage.items(), key=lambda each: each[1].free)
    return [f"{name} has {use.free / MB:,.1f} of {use.total / MB:,.0f} MB free" for name, use in ranked]


def _scratch() -> Path:
    """Spark's first folder for shuffles."""
    context = SparkContext._active_spark_context
    set_ = os.environ.get("SPARK_LOCAL_DIRS")
    with suppress(Py4JError, OSError):  # a JVM that ended tells nothing
        set_ = set_ or (context.getConf().get("spark.local.dir") if context else None)
    return Path((set_ or tempfile.gettempdir()).split(",")[0])


def _jvm_end(error: Exception) -> str | None:
    """How the JVM of this process ended, where that is what the error comes from."""
    if not any(isinstance(each, Py4JError | ConnectionError | EOFError) for each in _chain(error)):
        return None
    process = getattr(SparkContext._gateway, "proc", None)
    if process is None:  # spark-submit's JVM, which started us
        lost = any(isinstance(each, Py4JNetworkError | ConnectionError) for each in _chain(error))
        return "it no longer answers" if lost else None
    with suppress(subprocess.TimeoutExpired):
        status = process.wait(JVM_END_SECONDS)
        return f"signal {-status}" if status < 0 else f"exit status {status}"
    return None
