"""Who waits for the lock, and who explains itself at once."""

import os
import threading
import time
from pathlib import Path

import pytest

from pipelines.errors import LockedError
from pipelines.lock import hold_lock
from pipelines.positions import batch_id
from pipelines.progress import Progress
from pipelines.turns import WAITING_FILE, hold_lock_for_batch, hold_lock_in_turn

BATCH = batch_id("clicks", 3)


class Halt(Exception):  # noqa: N818
    pass


def go() -> None:
    """A stream that nobody stops."""


def held_for(root: Path, run_id: str, seconds: float) -> threading.Thread:
    """A run that holds the lock, already now, and for so long."""
    begun = threading.Event()

    def work() -> None:
        with hold_lock(str(root), run_id):
            begun.set()
            time.sleep(seconds)

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    return thread


def test_a_build_waits_for_a_streams_batch(tmp_path: Path) -> None:
    batch = held_for(tmp_path, BATCH, 0.5)
    with hold_lock_in_turn(str(tmp_path), "build", Progress()) as lock:
        assert lock is not None and lock.owner.run_id == "build"
    batch.join()


def test_a_build_waits_for_no_other_build_and_not_for_ever(tmp_path: Path) -> None:
    other = held_for(tmp_path, "20260101T000000-aa", 0.3)
    with (
        pytest.raises(LockedError, match="locked by run 20260101T000000-aa"),
        hold_lock_in_turn(str(tmp_path), "build", Progress()),
    ):
        pass
    other.join()
    batch = held_for(tmp_path, BATCH, 1.0)
    with (
        pytest.raises(LockedError, match=f"locked by run {BATCH}"),
        hold_lock_in_turn(str(tmp_path), "build", Progress(), patience=0.3),
    ):
        pass
    batch.join()


def test_a_batch_waits_for_a_build_until_the_stream_is_stopped(tmp_path: Path) -> None:
    build = held_for(tmp_path, "20260101T000000-aa", 0.5)
    with hold_lock_for_batch(str(tmp_path), BATCH, Progress(), go) as lock:
        assert lock is not None and lock.owner.run_id == BATCH
    build.join()

    def stop() -> None:
        raise Halt

    build = held_for(tmp_path, "20260101T000000-aa", 0.5)
    with pytest.raises(Halt), hold_lock_for_batch(str(tmp_path), BATCH, Progress(), stop):
        pass
    build.join()


def test_batches_back_to_back_let_a_waiting_build_in(tmp_path: Path) -> None:
    """Without taking turns the stream would have the lock again before the build looks."""
    done, let_in = threading.Event(), []

    def stream() -> None:
        for number in range(100):
            if done.is_set():
                return
            with hold_lock_for_batch(str(tmp_path), batch_id("clicks", number), Progress(), go):
                time.sleep(0.05)

    thread = threading.Thread(target=stream)
    thread.start()
    time.sleep(0.1)
    with hold_lock_in_turn(str(tmp_path), "build", Progress(), patience=5):
        let_in.append(True)
    done.set()
    thread.join()
    assert let_in


def test_a_clock_that_was_set_back_stalls_no_stream(tmp_path: Path) -> None:
    """What a build touched then seems to come from the future."""
    waiting = tmp_path / WAITING_FILE
    waiting.parent.mkdir()
    waiting.touch()
    os.utime(waiting, (time.time() + 3_600,) * 2)
    with hold_lock_for_batch(str(tmp_path), BATCH, Progress(), refuse) as lock:
        assert lock is not None


def refuse() -> None:
    """Asked where a batch waits."""
    raise AssertionError("the batch waits")
