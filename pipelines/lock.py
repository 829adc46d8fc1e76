"""One writer per warehouse: a lock file that names its owner and is kept fresh by a heartbeat.

Acquiring is serialised by an flock on ``ops/_lock.guard``, which the system drops with its process;
inside it the lock file is created with O_EXCL, or a dead owner's is replaced by one rename. A
warehouse on an object store has no such files: there, two runs may work at once and the pointer's
compare-and-swap (``pipelines.pointer``) lets only one publish.
"""

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pipelines.errors import LockedError

LOCK_FILE: Final = "ops/_lock"

HEARTBEAT_SECONDS: Final = 15.0
STALE_SECONDS: Final = 600.0
"""A heartbeat older than this frees the lock: 40 missed ones (our choice)."""

WATCHED_HEARTBEATS: Final = 2
"""So many must fail to come before a silent owner's lock is taken: clocks jump, and those of hosts differ."""

Clock = Callable[[], float]
"""Unix seconds."""


@dataclass(frozen=True)
class Owner:
    """Who holds a lock; ``process_start`` and ``boot_id`` tell a process from a later one of its pid."""

    run_id: str
    host: str
    pid: int
    started_at: float  # unix seconds
    token: str
    boot_id: str
    process_start: str

    @property
    def since(self) -> str:
        """When the lock was taken, ISO 8601 in UTC."""
        return datetime.fromtimestamp(self.started_at, UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class LockState:
    """A lock as found: ``owner`` is None where the file is cut off, ``dead`` says why it is free.

    ``silent``: by the clock alone, so that the owner may live all the same.
    """

    owner: Owner | None
    heartbeat_age: float  # seconds
    dead: str | None
    silent: bool = False


class Lock:
    """A held lock; ``require_held`` before anything that must not happen twice."""

    def __init__(self, path: Path, owner: Owner, clock: Clock) -> None:
        self.path = path
        self.owner = owner
        self._clock = clock
        self._file = os.open(path, os.O_RDONLY)  # the very inode: a heartbeat never touches a successor's
        self._stop = threading.Event()

    def require_held(self) -> None:
        """LockedError if another run has taken this lock over, such as after a long suspension."""
        state = read_lock(self.path.parent.parent, self._clock)
        if state is None or state.owner is None or state.owner.token != self.owner.token:
            holder = "nobody" if state is None or state.owner is None else f"run {state.owner.run_id}"
            raise LockedError(
                f"{self.path}: this run lost its lock, now held by {holder}, as it gave no sign of life for "
                "long; nothing was published: start the run again"
            )

    def beat(self) -> None:
        """Say that the owner is alive."""
        now = self._clock()
        os.utime(self._file, (now, now))

    def _keep_beating(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            self.beat()


@contextmanager
def hold_lock(
    root: str,
    run_id: str,
    clock: Clock = time.time,
    stale_seconds: float = STALE_SECONDS,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
) -> Iterator[Lock | None]:
    """Hold the warehouse's lock; yields None for a warehouse that is no local folder.

    Raises LockedError that names the holder and what to do: at once, unless that holder has been silent for
    long, which is then watched for two heartbeats.
    """
    folder = local_folder(root)
    if folder is None:
        yield None
        return
    lock = _acquire(folder, run_id, clock, stale_seconds, WATCHED_HEARTBEATS * heartbeat_seconds)
    beating = threading.Thread(
        target=lock._keep_beating, args=(heartbeat_seconds,), name="seqloom-lock", daemon=True
    )
    beating.start()
    try:
        yield lock
    finally:
        lock._stop.set()
        beating.join()
        _release(folder, lock)


def read_lock(
    folder: Path, clock: Clock = time.time, stale_seconds: float = STALE_SECONDS
) -> LockState | None:
    """The lock of the warehouse in ``folder``; None where it is free."""
    path = folder / LOCK_FILE
    try:
        with path.open() as file:
            text, heartbeat = file.read(), os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    try:
        owner = Owner(**json.loads(text))
    except (ValueError, TypeError):
        owner = None  # its writer died, or is just writing
    age = clock() - heartbeat
    dead, silent = None, False
    if owner is not None and not _may_live(owner):
        dead = f"its process {owner.pid} is gone"
    elif abs(age) > stale_seconds:
        silent = True
        dead = f"no sign of life for {age:.0f} s" if age > 0 else f"heard of {-age:.0f} s ahead of the clock"
    return LockState(owner, max(0.0, age), dead, silent)


def local_folder(root: str) -> Path | None:
    """The warehouse's folder, absolute; None where it lies on an object store or HDFS."""
    if "://" in root and not root.startswith("file://"):
        return None
    return Path(root.removeprefix("file://").removeprefix("file:")).absolute()


def located(root: str) -> str:
    """A warehouse's root whose name means the same in every process, wherever that works."""
    folder = local_folder(root)
    return root if folder is None else str(folder)


def _acquire(folder: Path, run_id: str, clock: Clock, stale_seconds: float, watched_seconds: float) -> Lock:
    path = folder / LOCK_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    found = read_lock(folder, clock, stale_seconds)
    if found is not None and found.silent and _is_touched(path, watched_seconds):
        raise LockedError(_held(folder, found))
    owner = Owner(
        run_id=run_id,
        host=socket.gethostname(),
        pid=os.getpid(),
        started_at=clock(),
        token=uuid.uuid4().hex,
        boot_id=_boot_id(),
        process_start=_process_start(os.getpid()),
    )
    with _guard(path):
        state = read_lock(folder, clock, stale_seconds)
        if state is None:
            _write(path, owner)
        elif state.dead:
            fresh = path.with_name(f"{path.name}.{owner.token}")
            _write(fresh, owner)
            fresh.replace(path)
        else:
            raise LockedError(_held(folder, state))
        lock = Lock(path, owner, clock)
        lock.beat()
    return lock


def _is_touched(path: Path, seconds: float) -> bool:
    """Whether the lock's file changes within a time, by a clock that nobody sets."""
    before, deadline = _touched(path), time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(min(seconds / 10, 0.5))
        if _touched(path) != before:
            return True
    return False


def _touched(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _release(folder: Path, lock: Lock) -> None:
    with _guard(lock.path):
        state = read_lock(folder, lock._clock)
        if state is not None and state.owner is not None and state.owner.token == lock.owner.token:
            lock.path.unlink()
    os.close(lock._file)


@contextmanager
def _guard(path: Path) -> Iterator[None]:
    """Held for the moment in which a lock changes hands, never while a run works."""
    with path.with_name(f"{path.name}.guard").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(path: Path, owner: Owner) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        with os.fdopen(file, "w") as stream:
            stream.write(json.dumps(asdict(owner)))
    except OSError:  # a full disk: a lock without an owner would keep everyone out until it is old
        path.unlink()
        raise


def _held(folder: Path, state: LockState) -> str:
    if state.owner is None:
        holder = f"an unnamed run, heard of {state.heartbeat_age:.0f} s ago"
    else:
        owner = state.owner
        holder = (
            f"run {owner.run_id} (process {owner.pid} on {owner.host}) since {owner.since}, "
            f"heard of {state.heartbeat_age:.0f} s ago"
        )
    return (
        f"{folder}: the warehouse is locked by {holder}; wait for it to end (jobs/status.py shows it), "
        "or end that process: its lock is then free"
    )


def _may_live(owner: Owner) -> bool:
    """Whether the owner can still be running; a process on another host cannot be asked."""
    if owner.host != socket.gethostname():
        return True
    if owner.boot_id != _boot_id():
        return False
    return bool(owner.process_start) and _process_start(owner.pid) == owner.process_start


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


def _process_start(pid: int) -> str:
    """When a process of this machine started, in ticks since boot; '' where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "" if Path("/proc/self/stat").exists() or not _answers(pid) else "unknown"
    fields = stat.rpartition(")")[2].split()  # the name in parentheses may hold spaces
    return "" if fields[0] in "ZX" else fields[19]


def _answers(pid: int) -> bool:
    """Whether a signal reaches the process, for systems without /proc."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
