"""Broken machines and broken files: the next run ends with the tables that an undisturbed one gives.

Long: ``pytest tests/e2e/test_faults.py -m slow -s``. Kills of whole runs are in ``test_kills.py``, the loss
of a cluster's worker in ``test_cluster.py``.
"""

import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipelines.errors import GateError, SourceError
from pipelines.ingest.files import HEAD_BYTES
from pipelines.lock import LOCK_FILE, read_lock
from pipelines.pointer import published
from tests.content import digest, table
from tests.e2e.builds import NOW, Case
from tests.e2e.sites import Running, Undisturbed, require_equal
from tests.processes import named, python_workers, signal_session

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

MB = 1_000_000


@pytest.fixture(scope="module")
def undisturbed(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed.make(tmp_path_factory.mktemp("undisturbed"))


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of ``size`` bytes of its own; unmounted also when this process is killed."""
    folder.mkdir()
    script = 'mount -t tmpfs -o "size=$1" tmpfs "$2" && echo mounted && cat > /dev/null; umount --lazy "$2"'
    holder = subprocess.Popen(
        ["sh", "-c", script, "sh", str(size), str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert holder.stdin is not None and holder.stdout is not None
    assert holder.stdout.readline() == b"mounted\n"
    try:
        yield folder
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()


def fill(disk: Path, room: int) -> Path:
    """A file that leaves ``room`` bytes free."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(disk).free - room))
    return ballast


def on_a_disk_of_our_own(request: pytest.FixtureRequest) -> bool:
    """Whether this process may mount. If not, the test is run by root of a namespace, and judged here."""
    if os.geteuid() == 0:
        return True
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("neither root nor allowed to be it in a namespace (unshare -rm): no disk can be mounted")
    command = ["unshare", "-rm", sys.executable, "-m", "pytest", "-x", "-m", "slow", request.node.nodeid]
    done = subprocess.run(command, cwd=request.config.rootpath, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    return False


def test_a_full_disk(request: pytest.FixtureRequest, undisturbed: Undisturbed, tmp_path: Path) -> None:
    """Without room for a lock, and filling up in the middle of the run; then there is room again."""
    if not on_a_disk_of_our_own(request):
        return
    with small_disk(tmp_path / "disk", 64 * MB) as disk:
        warehouse = undisturbed.fresh(disk / "warehouse")
        for room in (0, MB // 10):
            ballast = fill(disk, room)
            error = Running.of(
                undisturbed.site.command("after", warehouse), undisturbed.site.folder, tmp_path, {}
            ).the_error(2)
            print(f"{room:,} bytes free: {error}")
            assert f"a disk is full: the warehouse {warehouse} has 0." in error
            assert "make room" in error
            require_equal(warehouse, undisturbed.first)
            ballast.unlink()
        undisturbed.site.build("after", warehouse)
        require_equal(warehouse, undisturbed.second)


def test_a_full_disk_under_the_scratch(
    request: pytest.FixtureRequest, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """Spark's shuffles and kept data have no room; the warehouse has."""
    if not on_a_disk_of_our_own(request):
        return
    warehouse = undisturbed.fresh(tmp_path / "warehouse")
    with small_disk(tmp_path / "disk", MB // 4) as disk:
        run = undisturbed.site.start("after", warehouse, environment={"SPARK_LOCAL_DIRS": str(disk)})
        error = run.the_error(2)
        print(error)
        assert f"a disk is full: Spark's scratch {disk} has 0." in error
        require_equal(warehouse, undisturbed.first)
    undisturbed.site.build("after", warehouse)
    require_equal(warehouse, undisturbed.second)


def cut_parquet(folder: Path) -> str:
    """A Parquet file that ends too early."""
    return _parquet(folder, lambda whole: whole[: len(whole) * 2 // 3])


def blot_parquet(folder: Path) -> str:
    """A Parquet file whose footer is whole and whose pages are not."""

    def blot(whole: bytes) -> bytes:
        half = len(whole) // 2
        return whole[:200] + b"\x00" * half + whole[200 + half :]

    return _parquet(folder, blot)


def cut_gzip(folder: Path) -> str:
    """A CSV that ends too early behind what a first look reads."""
    for file in sorted(folder.iterdir()):
        header, _, rest = file.read_bytes().partition(b"\n")
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(header + b"\n" * (HEAD_BYTES + 2) + rest))
        file.unlink()
    broken = sorted(folder.iterdir())[1]
    broken.write_bytes(broken.read_bytes()[:-4_000])
    return "csv"


def _parquet(folder: Path, break_: Callable[[bytes], bytes]) -> str:
    for file in sorted(folder.iterdir()):
        pd.read_csv(file, dtype=str).to_parquet(file.with_suffix(".parquet"))
        file.unlink()
    broken = sorted(folder.iterdir())[1]
    broken.write_bytes(break_(broken.read_bytes()))
    return "parquet"


@pytest.mark.parametrize("break_", [cut_parquet, blot_parquet, cut_gzip])
def test_a_broken_file_among_others(
    undisturbed: Undisturbed, tmp_path: Path, break_: Callable[[Path], str]
) -> None:
    """The second of three is named, nothing is published; mended, or here replaced, it is taken in."""
    case = Case(tmp_path)
    warehouse = undisturbed.fresh(case.path())
    rows = pd.read_csv(undisturbed.site.folder / "after" / "events.csv", dtype=str)
    source = case.write(rows, "source", files=3)
    format_ = break_(source)
    with pytest.raises(SourceError, match=r"part-1\.(csv|parquet)") as raised:
        case.build(source, set=[f"source.format={format_}"])
    print(raised.value)
    assert raised.value.exit_status == 2
    require_equal(warehouse, undisturbed.first)
    shutil.rmtree(source)
    case.build(case.write(rows, "source", files=3))
    require_equal(warehouse, undisturbed.second)


def days(undisturbed: Undisturbed, case: Case) -> dict[int, Path]:
    """The second run's source by day of the month, events of other months with the last one."""
    rows = pd.read_csv(undisturbed.site.folder / "after" / "events.csv", dtype=str)
    ts = pd.to_datetime(rows["ts"], utc=True, errors="coerce")
    day = ts.dt.day.clip(lower=7).where((ts.dt.year == 2026) & (ts.dt.month == 1), 9).astype(int)
    return {number: case.write(own, f"day-{number}") for number, own in rows.groupby(day)}


def test_a_clock_that_jumps(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """Fifteen years ahead for a day, right for the next; then behind, at which events seem to be to come.

    So many that the gate holds the run, or few, which are refused and get in with ``--retry-rejected``.
    """
    case = Case(tmp_path)
    warehouse = undisturbed.fresh(case.path())
    sources = days(undisturbed, case)
    assert sorted(sources) == [7, 8, 9]
    assert case.build(sources[7], now=NOW + timedelta(days=15 * 365))["rejected"].get("late") is None
    ahead = published(str(warehouse))
    assert ahead is not None and ahead.watermark is not None and ahead.watermark < NOW
    assert case.build(sources[8])["rejected"].get("late") is None
    before = digest(warehouse)
    with pytest.raises(GateError, match="rejected"):
        case.build(sources[9], now=datetime(2026, 1, 5, tzinfo=UTC))
    require_equal(warehouse, before)
    noon = datetime(2026, 1, 9, 12, tzinfo=UTC)
    behind = case.build(sources[9], now=noon, set=["gates.max_rejected_share=1.0"])
    assert behind["rejected"]["future"] > 0
    assert published(str(warehouse)).watermark >= ahead.watermark  # type: ignore[union-attr]
    case.build(None, retry_rejected=True)
    require_equal(warehouse, undisturbed.second)


def test_an_event_of_a_clock_that_was_ahead_makes_no_other_late(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """A run in 2041 believes an event of 2036; afterwards the days go on as if it were not there."""
    case = Case(tmp_path, ['source.window.end="2040-01-01T00:00:00Z"', "gates.max_rejected_share=1.0"])
    rows = pd.read_csv(undisturbed.site.folder / "before" / "events.csv", dtype=str)
    case.build(case.write(rows, "before"), now=datetime(2026, 1, 7, tzinfo=UTC))
    sources = days(undisturbed, case)
    wrong = rows.dropna().head(1).assign(event_id="wrong", ts="2036-01-01T00:00:00Z")
    case.build(case.write(wrong, "wrong"), now=datetime(2041, 1, 1, tzinfo=UTC))
    assert len(table(case.path(), "bronze/events").query("event_id == 'wrong'")) == 1
    for day in (7, 8):
        summary = case.build(sources[day], now=datetime(2026, 1, day + 1, tzinfo=UTC))
        assert summary["rejected"].get("late") is None
        assert summary["events_kept"] > 100
    assert read_lock(case.path()) is None


def test_a_killed_python_worker(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """One worker alone, the driver and the JVM live on."""
    warehouse = undisturbed.fresh(tmp_path / "warehouse")
    run = undisturbed.site.start("after", warehouse)
    run.await_text("pass over users …")
    _await(run, lambda: bool(python_workers(run.process.pid)))
    for pid in python_workers(run.process.pid)[:1]:
        os.kill(pid, signal.SIGKILL)
    if run.wait() != 0:
        error = run.the_error(1)
        print(error)
        assert "a Python worker ended" in error
        require_equal(warehouse, undisturbed.first)
        undisturbed.site.build("after", warehouse)
    require_equal(warehouse, undisturbed.second)


def test_a_killed_jvm(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """The driver's Python sees its JVM go, says so and ends."""
    warehouse = undisturbed.fresh(tmp_path / "warehouse")
    run = undisturbed.site.start("after", warehouse)
    run.await_text("vocabulary …")
    for pid in named(run.process.pid, "java"):
        os.kill(pid, signal.SIGKILL)
    begin = time.monotonic()
    error = run.the_error(1)
    print(f"{time.monotonic() - begin:.1f} s: {error}")
    assert "Spark's JVM ended before the run did (signal 9)" in error
    require_equal(warehouse, undisturbed.first)
    undisturbed.site.build("after", warehouse)
    require_equal(warehouse, undisturbed.second)


def test_two_runs_started_together(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """One works; the other says at once who does, and exits 4."""
    warehouse = undisturbed.fresh(tmp_path / "warehouse")
    runs = [undisturbed.site.start("after", warehouse) for _ in range(2)]
    _await(runs[0], lambda: any(run.process.poll() is not None for run in runs))
    loser, winner = sorted(runs, key=lambda run: run.process.poll() is None)
    error = loser.the_error(4)
    print(error)
    holder = winner.said.read_text().partition("run ")[2].split(":")[0]
    assert f"locked by run {holder} (process {winner.process.pid} on " in error
    assert digest(warehouse) == undisturbed.first
    winner.require_done()
    require_equal(warehouse, undisturbed.second)


@pytest.mark.parametrize(
    ("source", "stage"),
    [("before", "start Spark …"), ("after", "pass over users …")],
    ids=["before its first stage", "at work"],
)
def test_a_run_that_was_stopped_comes_back_too_late(
    undisturbed: Undisturbed, tmp_path: Path, source: str, stage: str
) -> None:
    """SIGSTOP to all of a run; another one takes its lock, as it is silent, and publishes; SIGCONT.

    Stopped before a warehouse's first publication, the run knows of no table that it may not remove. The
    test makes the lock old instead of waiting.
    """
    warehouse = tmp_path / "warehouse"
    if source == "after":
        undisturbed.fresh(warehouse)
    expected = undisturbed.first if source == "before" else undisturbed.second
    stopped = undisturbed.site.start(source, warehouse)
    try:
        stopped.await_text(stage)
        signal_session(stopped.process, signal.SIGSTOP)
        old = time.time() - 3_600
        os.utime(warehouse / LOCK_FILE, (old, old))
        undisturbed.site.build(source, warehouse)
        require_equal(warehouse, expected)
        pointer = published(str(warehouse))
    finally:
        signal_session(stopped.process, signal.SIGCONT)
    error = stopped.the_error(4)
    print(error)
    assert "this run lost its lock" in error and "nothing was published" in error
    assert published(str(warehouse)) == pointer
    require_equal(warehouse, expected)
    undisturbed.site.build(source, warehouse)
    require_equal(warehouse, expected)


def _await(run: Running, holds: Callable[[], bool], seconds: float = 300) -> None:
    """Back once something holds while a run works."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, run.tail()
        time.sleep(0.02)
