"""Processes that a test started, all of them: each start leads a session of its own."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path


def kill_session(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL to the process and to all that it started, wherever they have gone since."""
    while session(process.pid):
        signal_session(process, signal.SIGKILL)
        process.poll()
        time.sleep(0.05)
    process.wait()


def session(leader: int) -> list[int]:
    """The living processes of a session (Python's daemons leave their process group, not this)."""
    found = []
    for pid in (int(folder.name) for folder in Path("/proc").glob("[0-9]*")):
        fields = _text(pid, "stat").rpartition(")")[2].split()
        if fields and fields[0] not in "ZX" and int(fields[3]) == leader:
            found.append(pid)
    return found


def signal_session(process: "subprocess.Popen[bytes]", which: signal.Signals) -> None:
    """A signal to every process of a session."""
    for pid in session(process.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, which)


def named(leader: int, name: str) -> list[int]:
    """The processes of a session that run the program ``name``."""
    return [pid for pid in session(leader) if _text(pid, "comm").strip() == name]


def python_workers(leader: int) -> list[int]:
    """Spark's Python workers in a session: what the daemons among its processes forked."""
    daemons = {pid for pid in session(leader) if "pyspark.daemon" in _text(pid, "cmdline")}
    return sorted(pid for pid in daemons if _parent(pid) in daemons)


def _parent(pid: int) -> int:
    fields = _text(pid, "stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else 0


def _text(pid: int, name: str) -> str:
    """A file of a process; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
