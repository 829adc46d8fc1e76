"""The DAGs for real: days of generated events through Airflow, spark-submit, training, registry and scoring.

Long; `pytest tests/airflow -m slow -s` shows the days as they pass.
"""

import csv
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipelines.pointer import published
from pipelines.reading import read_published_table, read_table
from tests.airflow.site import Site, make_events, make_site, midnight

pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]

DAILY = "behavior_sequences"
EVENTS_A_DAY = 1_800


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_events(tmp_path_factory.mktemp("generated") / "events", days=13, events=13 * EVENTS_A_DAY)


@pytest.fixture(scope="module")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("airflow") / "home"


def started(folder: Path, airflow_home: Path, generated: Path, days: int) -> Site:
    """A site to which the events of its first days have come."""
    site = make_site(folder, airflow_home)
    for day in range(1, days + 1):
        site.arrive(generated, day)
    return site


def scores(site: Site, day: str) -> pd.DataFrame:
    """A day's scores by user, without what differs between two publications of the same rows."""
    table = read_table(str(site.warehouse), "scores/users").to_pandas()
    own = table[table["day"].astype(str) == day].drop(columns=["publication"])
    return own.sort_values("user_id").reset_index(drop=True)


def registry(site: Site) -> dict[str, Any]:
    """Versions and aliases of the model."""
    client = site.client
    versions = client.search_model_versions("name='next'")
    return {
        "versions": sorted(int(version.version) for version in versions),
        "champion": int(client.get_model_version_by_alias("next", "champion").version),
    }


def spoil(file: Path) -> None:
    """Take the user from every second row of a file, as a broken export would."""
    with file.open(newline="") as lines:
        header, *rows = csv.reader(lines)
    for row in rows[::2]:
        row[header.index("user_id")] = ""
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows([header, *rows])


def test_days_pass_and_a_broken_one_changes_nothing(
    generated: Path, airflow_home: Path, tmp_path: Path
) -> None:
    site = started(tmp_path / "site", airflow_home, generated, days=9)
    status, said = site.run(DAILY, midnight(9), lookback_days=8)
    assert status == 0, said[-5000:]
    assert registry(site) == {"versions": [1], "champion": 1}, "no champion yet: one is trained"
    first = published(str(site.warehouse))
    assert first is not None and f"{first.as_of:%Y-%m-%d}" == midnight(9)

    site.arrive(generated, 10)
    status, said = site.run(DAILY, midnight(10))
    assert status == 0, said[-5000:]
    assert registry(site) == {"versions": [1], "champion": 1}, "a day later none is due"
    own = scores(site, midnight(10))
    users = set(read_published_table(str(site.warehouse), "silver/users")["user_id"].to_pylist())
    assert set(own["user_id"]) == users and set(own["model_version"]) == {1}
    assert (own["items"].map(len) == 10).all()

    site.arrive(generated, 11)
    status, said = site.run(DAILY, midnight(11), train="always")
    assert status == 0, said[-5000:]
    found = registry(site)
    assert found["versions"] == [1, 2]
    tags = site.client.get_model_version("next", "2").tags
    assert tags["promotion.decision"] in {"promoted", "not_promoted"} and tags["promotion.difference"]
    assert found["champion"] == (2 if tags["promotion.decision"] == "promoted" else 1)
    assert set(scores(site, midnight(11))["model_version"]) == {found["champion"]}
    as_it_was = site.tables(), registry(site), scores(site, midnight(11))

    status, said = site.run(DAILY, midnight(11), train="always")
    assert status == 0, said[-5000:]
    assert site.tables() == as_it_was[0]
    assert registry(site) == as_it_was[1]
    pd.testing.assert_frame_equal(scores(site, midnight(11)), as_it_was[2])

    pointer = published(str(site.warehouse))
    spoil(site.arrive(generated, 12))
    status, said = site.run(DAILY, midnight(12))
    assert status != 0
    assert "a gate or a test was not passed" in said and "rejected" in said
    assert published(str(site.warehouse)) == pointer
    assert registry(site) == as_it_was[1]
    assert scores(site, midnight(12)).empty
    pd.testing.assert_frame_equal(scores(site, midnight(11)), as_it_was[2])

    site.arrive(generated, 12)
    status, said = site.run(DAILY, midnight(12))
    assert status == 0, said[-5000:]
    assert set(scores(site, midnight(12))["model_version"]) == {as_it_was[1]["champion"]}


def test_a_backfill_of_ten_days_equals_ten_daily_runs(
    generated: Path, airflow_home: Path, tmp_path: Path
) -> None:
    """Both go on from one first build, whose fit is frozen then: equality is promised for one fit."""
    daily = started(tmp_path / "daily", airflow_home, generated, days=3)
    status, said = daily.run(DAILY, midnight(3), only="build")
    assert status == 0, said[-5000:]
    at_once = make_site(tmp_path / "at-once", airflow_home)
    shutil.copytree(daily.warehouse, at_once.warehouse)

    for day in range(4, 14):
        daily.arrive(generated, day)
        status, said = daily.run(DAILY, midnight(day), only="build")
        assert status == 0, said[-5000:]
    for day in range(4, 14):
        at_once.arrive(generated, day)
    status, said = at_once.run("backfill_sequences", midnight(13), start=midnight(3), end=midnight(13))
    assert status == 0, said[-5000:]

    there, here = at_once.tables(), daily.tables()
    for name, rows in here.items():
        assert there[name] == rows, name
    assert len(here["bronze/events"]) > 10 * EVENTS_A_DAY
