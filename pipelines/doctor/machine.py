"""What the machine has: cores, memory, disk, and a name that Spark can listen at."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from pipelines.doctor.finding import OK, PROBLEM, WARNING, Finding

GIB = 2**30
CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
LEAST_MEMORY, GOOD_MEMORY = 3, 8  # GiB; our choice: one JVM of a third of it, its Python workers, and torch
SET_UP_DISK, WORK_DISK = 8, 2  # GiB: .venv with torch takes 6; the demo's tables, shuffles and runs below 1


def check_cores(cores: int | None = None) -> Finding:
    """The cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    own = len(affinity(0)) if affinity else os.cpu_count() or 1
    count = own if cores is None else cores
    if count < 2:
        return Finding(WARNING, "cores", "1: everything works, slowly", "give this machine two or more cores")
    return Finding(OK, "cores", str(count))


def check_memory(total: int | None = None) -> Finding:
    """The memory that this process may use, in bytes; a container's limit counts where it is lower."""
    if total is None:
        total = memory_bytes()
    if total is None:
        return Finding(WARNING, "memory", "this system does not tell", f"see that it has {GOOD_MEMORY} GiB")
    found = f"{total / GIB:.1f} GiB"
    if total < LEAST_MEMORY * GIB:
        mend = f"use a machine (or a container limit) of {GOOD_MEMORY} GiB; {LEAST_MEMORY} GiB at the least"
        return Finding(PROBLEM, "memory", f"{found} is too little for Spark and its Python workers", mend)
    if total < GOOD_MEMORY * GIB:
        mend = f"give it {GOOD_MEMORY} GiB, or stay with logs of a few hundred thousand events"
        return Finding(WARNING, "memory", f"{found} is tight", mend)
    return Finding(OK, "memory", found)


def memory_bytes(limits: Sequence[str] = CONTAINER_LIMITS) -> int | None:
    """Physical memory or the container's limit, whichever is less; None where nothing tells."""
    known = []
    with suppress(ValueError, OSError, AttributeError):
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for name in limits:
        try:
            text = Path(name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():  # "max": no limit
            known.append(int(text))
    return min(known) if known else None


def check_disk(
    root: Path, temporary: Path, set_up: bool, free: Callable[[Path], int] | None = None
) -> Finding:
    """Free disk where the project lies and where Spark shuffles."""
    ask = free or (lambda folder: shutil.disk_usage(folder).free)
    need = WORK_DISK if set_up else SET_UP_DISK
    shown = []
    for folder, least in ((root, need), (temporary, WORK_DISK)):
        if not os.access(folder, os.W_OK):
            mend = "own the folder, or set TMPDIR" if folder == temporary else "clone where you may write"
            return Finding(PROBLEM, "disk", f"{folder} cannot be written", mend)
        left = ask(folder)
        shown.append(f"{left / GIB:.1f} GiB free in {folder}")
        if left < least * GIB:
            mend = f"free {least} GiB there"
            mend += "" if folder == root else " or set SPARK_LOCAL_DIRS and TMPDIR to a larger disk"
            return Finding(PROBLEM, "disk", shown[-1], mend)
    return Finding(OK, "disk", ", ".join(shown))


def check_network(name: str | None = None) -> Finding:
    """Spark's driver listens at this machine's own name: is it known, and may a port be opened there?"""
    host = name or os.environ.get("SPARK_LOCAL_IP") or socket.gethostname()
    mend = f"export SPARK_LOCAL_IP=127.0.0.1, or add '127.0.1.1 {host}' to /etc/hosts"
    try:
        address = socket.gethostbyname(host)
    except OSError:
        return Finding(PROBLEM, "network", f"the name of this machine, {host}, has no address", mend)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
            listening.bind((address, 0))
    except OSError as error:
        return Finding(PROBLEM, "network", f"no port opens at {address} ({host}): {error.strerror}", mend)
    return Finding(OK, "network", f"{host} is {address}, ports open there")
