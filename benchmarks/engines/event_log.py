"""What Spark's event log tells of a program: bytes shuffled, spilled, passed to Python workers and back."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TO_PYTHON, FROM_PYTHON = "data sent to Python workers", "data returned from Python workers"
"""Spark's own names (``PythonSQLMetrics``)."""


@dataclass(frozen=True)
class Traffic:
    """Of all tasks. Spilled bytes are those on disk, compressed."""

    queries: int
    tasks: int
    shuffled_bytes: int
    spilled_bytes: int
    to_python_bytes: int
    from_python_bytes: int
    collecting_seconds: float  # of garbage, summed over tasks


def settings(folder: Path) -> dict[str, str]:
    """Spark settings that write one plain log a program into ``folder``, which must be there."""
    return {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": folder.as_uri(),
        "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.compress": "false",
    }


def traffic(folder: Path) -> Traffic:
    """What the one log in ``folder`` tells."""
    (path,) = folder.iterdir()
    with path.open() as lines:
        return total(json.loads(line) for line in lines)


def total(events: Iterable[dict[str, Any]]) -> Traffic:
    """The sums over an event log's events."""
    found: Counter[str] = Counter()
    for event in events:
        name = event["Event"].rpartition(".")[2]
        if name == "SparkListenerSQLExecutionStart":
            found["queries"] += 1
        elif name == "SparkListenerTaskEnd":
            found["tasks"] += 1
            for figure, value in _of_task(event):
                found[figure] += value
    return Traffic(
        queries=found["queries"],
        tasks=found["tasks"],
        shuffled_bytes=found["shuffled"],
        spilled_bytes=found["spilled"],
        to_python_bytes=found[TO_PYTHON],
        from_python_bytes=found[FROM_PYTHON],
        collecting_seconds=found["collecting"] / 1_000,
    )


def _of_task(event: dict[str, Any]) -> Iterator[tuple[str, int]]:
    metrics = event.get("Task Metrics")
    if metrics is not None:  # a task that was lost has none
        yield "shuffled", metrics["Shuffle Write Metrics"]["Shuffle Bytes Written"]
        yield "spilled", metrics["Disk Bytes Spilled"]
        yield "collecting", metrics["JVM GC Time"]
    for own in event["Task Info"]["Accumulables"]:
        if own.get("Name") in (TO_PYTHON, FROM_PYTHON):
            yield own["Name"], int(own["Update"])
