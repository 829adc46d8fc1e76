"""The main job on a real standalone cluster of two workers, one of which is killed at work.

Long: ``pytest tests/e2e/test_cluster.py -m slow -s``.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import ROOT, Cluster, environment, pack, running_cluster
from tests.content import digest
from tests.e2e.sites import Running, Site, Undisturbed, require_equal
from tests.processes import kill_session

WHERE = """\
import json
from pipelines.spark import start_spark


def where(_):
    import os, features, pipelines
    return [os.path.abspath(package.__file__) for package in (features, pipelines)]


context = start_spark("where").sparkContext
print(json.dumps(context.parallelize(range(8), 8).flatMap(where).distinct().collect()))
"""
"""The files that workers' modules come from."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def undisturbed(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """What local mode makes."""
    return Undisturbed.make(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path / "cluster") as running:
        yield running


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tmp_path_factory.mktemp("code") / "seqloom.zip")


def submit(cluster: Cluster, code: Path, site: Site, source: str, warehouse: Path) -> Running:
    words = site.command(source, warehouse)[2:]
    script = ROOT / "jobs" / "build_sequences.py"
    command = cluster.submit(code, script, *words)
    return Running.of(command, site.folder, warehouse.parent, environment())


def test_workers_run_the_code_of_the_zip(cluster: Cluster, code: Path, tmp_path: Path) -> None:
    """Not that of an installation which their Python may know."""
    script = tmp_path / "where.py"
    script.write_text(WHERE)
    run = Running.of(cluster.submit(code, script), tmp_path, tmp_path, environment())
    run.require_done()
    places = json.loads(run.answered.read_text().splitlines()[-1])
    assert {Path(place).parent.name for place in places} == {"features", "pipelines"}
    for place in places:
        zipped = next(folder for folder in Path(place).parents if folder.name == code.name)
        assert zipped.is_relative_to(cluster.folder), f"{place} is not what Spark shipped"


def test_a_cluster_makes_the_tables_that_one_machine_makes(
    cluster: Cluster, code: Path, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """A first build, and a day that goes on from it."""
    warehouse = tmp_path / "warehouse"
    for source, expected in (("before", undisturbed.first), ("after", undisturbed.second)):
        begin = time.monotonic()
        submit(cluster, code, undisturbed.site, source, warehouse).require_done()
        print(f"{source}: {time.monotonic() - begin:.1f} s")
        require_equal(warehouse, expected)


@pytest.mark.parametrize("stage", ["ingest …", "pass over users …"])
def test_a_killed_worker_does_not_end_a_run(
    cluster: Cluster, code: Path, undisturbed: Undisturbed, tmp_path: Path, stage: str
) -> None:
    """SIGKILL to a worker, its executor and its Python workers, in the middle of a day's run."""
    warehouse = undisturbed.fresh(tmp_path / "warehouse")
    run = submit(cluster, code, undisturbed.site, "after", warehouse)
    run.await_text(stage)
    victim = cluster.busy_workers()[0]
    kill_session(victim)
    assert digest(warehouse) == undisturbed.first, "readers keep the published version"
    run.require_done()
    assert cluster.workers[0].poll() is None or cluster.workers[1].poll() is None
    require_equal(warehouse, undisturbed.second)
