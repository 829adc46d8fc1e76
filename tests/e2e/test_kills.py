"""Runs killed at random instants, by SIGKILL to the driver, the JVM and the Python workers at once.

Long: `pytest tests/e2e/test_kills.py -m slow -s` shows each kill; SEQLOOM_KILLS sets their number.
"""

import os
import random
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from pipelines.pointer import published
from tests.content import digest
from tests.e2e.sites import Site, require_equal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

KILLS = int(os.environ.get("SEQLOOM_KILLS", "40"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site.make(tmp_path_factory.mktemp("kills"))


def kill(site: Site, source: str, warehouse: Path, after: float) -> str:
    """The last stage that a run had begun when all of it was killed; '' where it had ended."""
    run = site.start(source, warehouse)
    try:
        run.process.wait(after)
        ended = True
    except subprocess.TimeoutExpired:
        ended = False
    with suppress(ProcessLookupError):
        os.killpg(run.process.pid, signal.SIGKILL)
    run.process.wait()
    lines = [line for line in run.said.read_text().splitlines() if line.endswith("…")]
    return "" if ended else lines[-1] if lines else "before the first stage …"


@pytest.mark.parametrize("source", ["before", "after"])
def test_a_killed_run_leaves_nothing_behind(site: Site, tmp_path: Path, source: str) -> None:
    """The first build of a warehouse, and a day that goes on from it, which brings some events again."""
    base = tmp_path / "base"
    if source == "after":
        site.run("before", base)
    undisturbed = tmp_path / "undisturbed"
    if base.exists():
        shutil.copytree(base, undisturbed)
    seconds = site.run(source, undisturbed)
    expected, earlier = digest(undisturbed), digest(base) if base.exists() else None
    random_ = random.Random(source)
    for number in range(KILLS // 2):
        warehouse = tmp_path / "warehouse"
        if base.exists():
            shutil.copytree(base, warehouse)
        after = random_.uniform(0, seconds)
        stage = kill(site, source, warehouse, after)
        pointer = published(str(warehouse)) if warehouse.exists() else None
        visible = digest(warehouse) if pointer else None
        assert visible in (earlier, expected), "a reader sees what was published, or all of the new"
        site.run(source, warehouse)
        require_equal(warehouse, expected)
        where = stage or "no stage: it had ended"
        print(f"{source} {number + 1}: killed after {after:.1f} s of {seconds:.1f}, in {where}")
        shutil.rmtree(warehouse)
