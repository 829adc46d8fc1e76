"""Runs killed at random instants, by SIGKILL to the driver, the JVM and the Python workers at once.

Long: `pytest tests/e2e/test_kills.py -m slow -s` shows each kill; SEQLOOM_KILLS sets their number.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pipelines.erasure.derived import derived_ids
from pipelines.erasure.needles import Needles
from pipelines.erasure.scan import scan
from pipelines.pointer import published
from tests.content import digest, table
from tests.e2e.sites import ROOT, Running, Site, require_equal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

KILLS = int(os.environ.get("SEQLOOM_KILLS", "40"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site.make(tmp_path_factory.mktemp("kills"))


def kill(run: Running, after: float) -> str:
    """The last stage that a run had begun when all of it was killed; '' where it had ended."""
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
        stage = kill(site.start(source, warehouse), after)
        pointer = published(str(warehouse)) if warehouse.exists() else None
        visible = digest(warehouse) if pointer else None
        assert visible in (earlier, expected), "a reader sees what was published, or all of the new"
        site.run(source, warehouse)
        require_equal(warehouse, expected)
        tell(f"{source} {number + 1}", after, seconds, stage)
        shutil.rmtree(warehouse)


def test_a_killed_erasure_ends_when_it_is_run_again(site: Site, tmp_path: Path) -> None:
    """Proven then, with the tables of an undisturbed one; between, readers see all users or none of them."""
    base, undisturbed = tmp_path / "base", tmp_path / "undisturbed"
    site.run("before", base)
    shutil.copytree(base, undisturbed)
    users = table(base, "silver/users")["user_id"].sort_values().tolist()
    victims = users[::20]
    begin = time.monotonic()
    erasure(site, undisturbed, victims).require_done()
    seconds = time.monotonic() - begin
    expected, earlier = digest(undisturbed), digest(base)
    needles = Needles([*victims, *derived_ids(base, victims)])
    assert expected != earlier and list(scan(base, needles)) and not list(scan(undisturbed, needles))
    random_ = random.Random("erasure")
    for number in range(KILLS // 4):
        warehouse = tmp_path / "warehouse"
        shutil.copytree(base, warehouse)
        after = random_.uniform(0, seconds)
        stage = kill(erasure(site, warehouse, victims), after)
        assert digest(warehouse) in (earlier, expected)
        again = erasure(site, warehouse, victims)
        again.require_done()
        assert json.loads(again.answered.read_text().splitlines()[-1])["proven"]
        require_equal(warehouse, expected)
        assert list(scan(warehouse, needles)) == []
        tell(f"erasure {number + 1}", after, seconds, stage)
        shutil.rmtree(warehouse)


def test_killed_upkeep_loses_no_row(site: Site, tmp_path: Path) -> None:
    """Two publications, the older of which nobody needs: compacted, and old files removed."""
    base, undisturbed = tmp_path / "base", tmp_path / "undisturbed"
    site.run("before", base)
    site.run("after", base)
    expected = digest(base)
    shutil.copytree(base, undisturbed)
    begin = time.monotonic()
    upkeep(site, undisturbed).require_done()
    seconds = time.monotonic() - begin
    assert digest(undisturbed) == expected and len(stored(undisturbed)) < len(stored(base))
    random_ = random.Random("upkeep")
    for number in range(KILLS // 4):
        warehouse = tmp_path / "warehouse"
        shutil.copytree(base, warehouse)
        after = random_.uniform(0, seconds)
        stage = kill(upkeep(site, warehouse), after)
        assert digest(warehouse) == expected
        upkeep(site, warehouse).require_done()
        require_equal(warehouse, expected)
        assert len(stored(warehouse)) <= len(stored(undisturbed))
        tell(f"upkeep {number + 1}", after, seconds, stage)
        shutil.rmtree(warehouse)


def erasure(site: Site, warehouse: Path, users: list[str]) -> Running:
    """A started process that forgets the users."""
    words = [word for user in users for word in ("--user", user)]
    return job("erase_users.py", site, warehouse, *words)


def upkeep(site: Site, warehouse: Path) -> Running:
    """A started process that puts files together and removes old ones; no model names any."""
    return job(
        "maintain_tables.py", site, warehouse, "--apply", "--keep-days", "0", "--tracking", str(site.folder)
    )


def job(name: str, site: Site, warehouse: Path, *words: str) -> Running:
    command = [sys.executable, str(ROOT / "jobs" / name), "--warehouse", str(warehouse), *words]
    return Running.of(command, site.folder, warehouse.parent, {})


def stored(warehouse: Path) -> list[Path]:
    return [file for file in warehouse.rglob("*.parquet") if "_delta_log" not in file.parts]


def tell(what: str, after: float, seconds: float, stage: str) -> None:
    print(f"{what}: killed after {after:.1f} s of {seconds:.1f}, in {stage or 'no stage: it had ended'}")
