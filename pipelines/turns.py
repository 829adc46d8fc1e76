"""Streams and builds share a warehouse's lock: who waits for whom, and how neither starves."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from pipelines.errors import LockedError
from pipelines.lock import LOCK_FILE, Lock, hold_lock, local_folder, read_lock
from pipelines.positions import is_stream
from pipelines.progress import Progress

POLL_SECONDS: Final = 0.2
PATIENCE_SECONDS: Final = 120.0
"""How long a build waits for a stream's batch, which takes seconds (our choice)."""

WAITING_FILE: Final = f"{LOCK_FILE}.waiting"
"""Touched by a build that waits: a stream lets it go first."""


@contextmanager
def hold_lock_in_turn(
    root: str, run_id: str, progress: Progress, patience: float = PATIENCE_SECONDS
) -> Iterator[Lock | None]:
    """Hold the lock for a job: a stream's batch is waited for, up to ``patience`` seconds.

    No further stage of ``progress`` begins where the lock was lost. Raises LockedError that names the holder,
    at once where it is another build.
    """
    folder = local_folder(root)
    deadline = time.monotonic() + patience
    said = False

    def wait() -> bool:
        nonlocal said
        holder = _holder(root)
        if time.monotonic() >= deadline or not (holder is None or is_stream(holder)):
            return False
        if folder is not None:
            (folder / WAITING_FILE).touch()
        if not said:
            progress.say(f"waiting for {holder or 'the lock'} to end")
            said = True
        return True

    with _hold(root, run_id, wait) as lock:
        if lock is not None:
            progress.before_stage = lock.require_held
        yield lock


@contextmanager
def hold_lock_for_batch(
    root: str, run_id: str, progress: Progress, require_going: Callable[[], None]
) -> Iterator[Lock | None]:
    """Hold the lock for a stream's batch, however long another run takes; builds that wait go first.

    ``require_going`` raises where the stream is to stop.
    """
    said: set[str] = set()

    def wait() -> bool:
        require_going()
        holder = _holder(root)
        if holder is not None and holder not in said:
            progress.say(f"waiting for run {holder} to end")
            said.add(holder)
        return True

    while _is_awaited(root):
        require_going()
        time.sleep(POLL_SECONDS)
    with _hold(root, run_id, wait) as lock:
        yield lock


@contextmanager
def _hold(root: str, run_id: str, wait: Callable[[], bool]) -> Iterator[Lock | None]:
    with ExitStack() as held:
        while True:
            try:
                lock = held.enter_context(hold_lock(root, run_id))
                break
            except LockedError:
                if not wait():
                    raise
            time.sleep(POLL_SECONDS)
        yield lock


def _holder(root: str) -> str | None:
    """The run that holds the lock; None where it was freed just now, or is just changing hands."""
    folder = local_folder(root)
    state = None if folder is None else read_lock(folder)
    return None if state is None or state.owner is None else state.owner.run_id


def _is_awaited(root: str) -> bool:
    """Whether a build asked for the lock within its last few polls."""
    folder = local_folder(root)
    if folder is None:
        return False
    try:
        touched = (folder / WAITING_FILE).stat().st_mtime
    except FileNotFoundError:
        return False
    return 0 <= time.time() - touched < 5 * POLL_SECONDS  # not where the clock was set back since
