"""Independent Spark queries at once: on small data a driver's planning, not its cores, sets the pace."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def side_by_side(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """The results of tasks that do not depend on each other, in order; the first error is raised.

    Each has a thread of its own; all have ended when this returns.
    """
    with ThreadPoolExecutor(max(1, len(tasks))) as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]
