"""What an error of a broken machine is told as."""

from pathlib import Path

import pytest

from pipelines.errors import LockedError, SeqloomError, SourceError, WarehouseError
from pipelines.faults import told_plainly
from pipelines.lock import LOCK_FILE, hold_lock


def test_a_full_disk_is_told_wherever_it_stands_in_the_chain(tmp_path: Path) -> None:
    def write() -> None:
        try:
            Path("/dev/full").write_text("a lock")
        except OSError:
            raise RuntimeError("the stage failed") from None

    full = r"a disk is full: .*the warehouse .* MB free"
    with pytest.raises(WarehouseError, match=full) as raised, told_plainly(str(tmp_path)):
        write()
    assert raised.value.exit_status == 2


def test_what_is_told_already_stays(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^row 3"), told_plainly(str(tmp_path)):
        raise SourceError("row 3")
    with pytest.raises(ValueError, match=r"^a bug"), told_plainly(str(tmp_path)):
        raise ValueError("a bug")


def test_a_lost_worker_is_told(tmp_path: Path) -> None:
    with pytest.raises(SeqloomError, match="a Python worker ended"), told_plainly(str(tmp_path)):
        raise RuntimeError("org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)")


def test_whoever_lost_the_lock_hears_of_that_first(tmp_path: Path) -> None:
    """Whatever failed, it failed as another run works there."""
    with hold_lock(str(tmp_path), "first") as lock:
        (tmp_path / LOCK_FILE).unlink()
        with pytest.raises(LockedError, match="lost its lock"), told_plainly(str(tmp_path), lock):
            raise ValueError("a table changed")
