"""One writer per warehouse, shown with real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.errors import LockedError
from pipelines.lock import LOCK_FILE, hold_lock, local_folder, read_lock

HOLD = """
import sys, time
from pathlib import Path
from pipelines.errors import LockedError
from pipelines.lock import hold_lock
root, run_id, start = sys.argv[1], sys.argv[2], float(sys.argv[3])
while time.time() < start:
    pass
try:
    with hold_lock(root, run_id):
        print("held", flush=True)
        sys.stdin.read()
except LockedError as error:
    print(f"locked {error}", flush=True)
"""


class Clock:
    """A clock that a test winds."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def contender(root: Path, run_id: str, start: float = 0.0) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root), run_id, str(start)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_held_lock_refuses_a_second_run_and_names_the_holder(tmp_path: Path) -> None:
    with (
        hold_lock(str(tmp_path), "run-a"),
        pytest.raises(LockedError, match=rf"run run-a \(process {os.getpid()} on .* since 20\d\d-"),
        hold_lock(str(tmp_path), "run-b"),
    ):
        raise AssertionError("two runs hold the lock")
    assert LockedError.exit_status == 4


def test_the_lock_is_free_after_a_run_and_after_a_failure(tmp_path: Path) -> None:
    with hold_lock(str(tmp_path), "run-a"):
        assert read_lock(tmp_path) is not None
    with pytest.raises(RuntimeError), hold_lock(str(tmp_path), "run-b"):
        raise RuntimeError("a stage failed")
    assert read_lock(tmp_path) is None
    assert not (tmp_path / LOCK_FILE).exists()


@pytest.mark.parametrize("leftover", [False, True], ids=["free", "left by a dead process"])
def test_of_processes_started_together_exactly_one_wins(tmp_path: Path, leftover: bool) -> None:
    for attempt in range(3):
        root = tmp_path / str(attempt)
        if leftover:
            dead = contender(root, "dead")
            assert first_line(dead) == "held\n"
            dead.send_signal(signal.SIGKILL)
            dead.wait()
            assert (root / LOCK_FILE).exists()
        start = time.time() + 0.7
        runs = [contender(root, f"run-{k}", start) for k in range(4)]
        said = [first_line(run) for run in runs]
        assert sorted(line.split()[0] for line in said) == ["held", "locked", "locked", "locked"]
        winner = said.index("held\n")
        assert all(f"run-{winner}" in line for line in said if line != "held\n")
        for run in runs:
            run.communicate()


def test_the_lock_of_a_killed_process_is_taken_over_at_once(tmp_path: Path) -> None:
    killed = contender(tmp_path, "killed")
    assert first_line(killed) == "held\n"
    with pytest.raises(LockedError, match="run killed"), hold_lock(str(tmp_path), "early"):
        pass
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    state = read_lock(tmp_path)
    assert state is not None and state.dead == f"its process {killed.pid} is gone"
    with hold_lock(str(tmp_path), "next") as lock:
        assert lock is not None
        lock.require_held()


def test_a_later_process_with_the_same_pid_does_not_keep_a_dead_lock_alive(tmp_path: Path) -> None:
    with hold_lock(str(tmp_path), "run-a"):
        text = (tmp_path / LOCK_FILE).read_text()
    (tmp_path / LOCK_FILE).write_text(json.dumps(json.loads(text) | {"process_start": "1"}))
    with hold_lock(str(tmp_path), "run-b"):
        pass


def test_a_silent_owner_on_another_host_is_replaced_only_after_the_limit(tmp_path: Path) -> None:
    clock = Clock(1_000_000.0)
    with hold_lock(str(tmp_path), "far", clock):
        text = (tmp_path / LOCK_FILE).read_text()
    lock_file = tmp_path / LOCK_FILE
    lock_file.write_text(json.dumps(json.loads(text) | {"host": "elsewhere"}))
    os.utime(lock_file, (clock.now, clock.now))

    clock.now += 600
    with pytest.raises(LockedError, match="on elsewhere"), hold_lock(str(tmp_path), "near", clock):
        pass
    clock.now += 1
    with hold_lock(str(tmp_path), "near", clock, heartbeat_seconds=0.1):
        state = read_lock(tmp_path, clock)
        assert state is not None and state.owner is not None and state.owner.run_id == "near"


def test_a_heartbeat_keeps_a_slow_run_in_possession(tmp_path: Path) -> None:
    clock = Clock(1_000_000.0)
    with hold_lock(str(tmp_path), "slow", clock, heartbeat_seconds=0.01) as lock:
        assert lock is not None
        clock.now += 3_600
        time.sleep(0.3)
        state = read_lock(tmp_path, clock)
        assert state is not None and state.dead is None and state.heartbeat_age == 0


def test_a_run_that_lost_its_lock_learns_it_and_leaves_the_successor_alone(tmp_path: Path) -> None:
    clock = Clock(1_000_000.0)
    with hold_lock(str(tmp_path), "asleep", clock, heartbeat_seconds=3_600) as first:
        assert first is not None
        clock.now += 601
        with hold_lock(str(tmp_path), "successor", clock, heartbeat_seconds=0.1) as second:
            assert second is not None
            with pytest.raises(LockedError, match="lost its lock, now held by run successor"):
                first.require_held()
            first.beat()  # touches its own inode, not the successor's file
            second.require_held()
            before = (tmp_path / LOCK_FILE).stat().st_mtime
            clock.now += 50
            first.beat()
            assert (tmp_path / LOCK_FILE).stat().st_mtime == before
            clock.now -= 50
            second.beat()
        assert read_lock(tmp_path) is None


def test_the_first_owner_does_not_remove_its_successors_lock(tmp_path: Path) -> None:
    clock = Clock(1_000_000.0)
    first = hold_lock(str(tmp_path), "asleep", clock, heartbeat_seconds=3_600)
    first.__enter__()
    clock.now += 601
    with hold_lock(str(tmp_path), "successor", clock, heartbeat_seconds=0.1) as second:
        first.__exit__(None, None, None)
        assert second is not None
        second.require_held()


def test_a_half_written_lock_holds_until_it_is_old(tmp_path: Path) -> None:
    clock = Clock(1_000_000.0)
    lock_file = tmp_path / LOCK_FILE
    lock_file.parent.mkdir()
    lock_file.write_text('{"run_id": "cu')
    os.utime(lock_file, (clock.now, clock.now))
    with pytest.raises(LockedError, match="an unnamed run"), hold_lock(str(tmp_path), "next", clock):
        pass
    clock.now += 601
    with hold_lock(str(tmp_path), "next", clock, heartbeat_seconds=0.1):
        pass


@pytest.mark.parametrize("jump", [-3_600.0, 3_600.0])
def test_a_clock_that_jumps_takes_no_lock_from_a_living_owner(tmp_path: Path, jump: float) -> None:
    """For a moment the last heartbeat lies an hour back or ahead; the next one tells."""
    clock = Clock(1_000_000.0)
    with hold_lock(str(tmp_path), "alive", clock, heartbeat_seconds=0.1) as lock:
        clock.now += jump
        with (
            pytest.raises(LockedError, match="run alive"),
            hold_lock(str(tmp_path), "next", clock, heartbeat_seconds=2),
        ):
            pass
        assert lock is not None
        lock.require_held()


def test_an_owner_whose_clock_was_years_ahead_does_not_hold_the_lock_for_years(tmp_path: Path) -> None:
    """On another host, which cannot be asked for the process."""
    clock = Clock(1_000_000.0)
    with hold_lock(str(tmp_path), "far", clock):
        text = (tmp_path / LOCK_FILE).read_text()
    lock_file = tmp_path / LOCK_FILE
    lock_file.write_text(json.dumps(json.loads(text) | {"host": "elsewhere"}))
    os.utime(lock_file, (clock.now + 1e8, clock.now + 1e8))
    with hold_lock(str(tmp_path), "near", clock, heartbeat_seconds=0.1):
        pass


def test_an_object_store_has_no_lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with hold_lock("s3a://bucket/warehouse", "run-a") as lock:
        assert lock is None
    assert list(tmp_path.iterdir()) == []
    assert local_folder("file:///data/w") == Path("/data/w")
    assert local_folder("warehouse") == Path("warehouse").absolute()
