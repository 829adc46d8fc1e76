"""Users leave a built warehouse for good, and a full refresh does not bring them back."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from pipelines.erasure import EraseRequest, erase_users
from pipelines.erasure.derived import derived_ids
from pipelines.erasure.needles import Needles
from pipelines.erasure.scan import scan
from pipelines.old_versions import delta_tables
from pipelines.pointer import require_published
from tests.content import TABLES, contents, require_forgotten, table
from tests.e2e.builds import NOW, SETTINGS, Case, true_events

pytestmark = [pytest.mark.usefixtures("spark"), pytest.mark.slow, pytest.mark.timeout(1800)]
ALL_TABLES = (*TABLES, "silver/superseded_sessions")


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Half of the users are numbers, half are words, and one comes with the last days only."""
    events = true_events(tmp_path_factory.mktemp("generated"), replace(SETTINGS, events=2_000))
    odd = events["user_id"].str[-1].astype(int) % 2 == 1
    events["user_id"] = events["user_id"].where(~odd, "u-" + events["user_id"])
    events["event_id"] = "e" + events["event_id"]
    last = (day_of(events) >= 8) & (events["user_id"] == events["user_id"].iloc[-1])
    events["user_id"] = events["user_id"].where(~last, "late@home")
    return events


def day_of(events: pd.DataFrame) -> "pd.Series[int]":
    return pd.to_datetime(events["ts"], utc=True).dt.day


def two_builds(case: Case, events: pd.DataFrame, victim: str) -> None:
    """Days 1 to 7 and then the rest, of which a little is late; with lines that cannot be read."""
    held_back = (day_of(events) == 6) & (events.index % 20 == 0)
    first = case.write(events[(day_of(events) < 8) & ~held_back], "day-1")
    with (first / "part-0.csv").open("a") as file:
        file.write(f"cut,{victim}\ncut,nobody\n")
    case.build(first)
    case.build(case.write(events[(day_of(events) >= 8) | held_back], "day-2"))
    whole = case.write(events, "all")
    with (whole / "part-0.csv").open("a") as file:
        file.write(f"cut,{victim}\ncut,nobody\n")


def without(rows: dict[str, list[str]], users: list[str]) -> dict[str, list[str]]:
    return {
        name: [row for row in own if json.loads(row)["user_id"] not in users] for name, own in rows.items()
    }


def test_users_leave_and_do_not_come_back(events: pd.DataFrame, tmp_path: Path) -> None:
    case = Case(tmp_path)
    found = events["user_id"].value_counts().index
    number = next(user for user in found if user.isdigit())
    word = next(user for user in found if user.startswith("u-"))
    victims = [number, word, "late@home"]
    two_builds(case, events, number)
    everybody = Needles([*events["user_id"], *events["event_id"]])
    for name in delta_tables(case.path()):
        assert not list(scan(case.path() / name / "_delta_log", everybody)), name
    needles = Needles([*victims, *derived_ids(case.path(), victims)])
    before, old = contents(case.path(), ALL_TABLES), require_published(str(case.path()))

    receipt = erase_users(EraseRequest(str(case.path()), victims, now=NOW))

    assert receipt["proven"] and receipt["users_found"] == 3 and receipt["places_before"] > 20
    assert len(needles.ids) > 20 and list(scan(case.path(), needles)) == []
    after = contents(case.path(), ALL_TABLES)
    assert after == without(before, victims) and after != before
    new = require_published(str(case.path()))
    assert (new.fit_id, new.as_of, new.watermark) == (old.fit_id, old.as_of, old.watermark)
    require_forgotten(case.path(), {name: old.versions[name] for name in TABLES})

    summary = case.build(case.folder / "all", full_refresh=True, fit="frozen")
    assert summary["rejected"]["erased"] > 100 and summary["gates"]["bronze.rejected_share"]
    assert list(scan(case.path(), needles)) == []
    refreshed = contents(case.path())
    for name in TABLES:
        assert refreshed[name] == after[name], name
    quarantine = table(case.path(), "bronze/events_rejected")
    erased = quarantine[quarantine["reason"] == "erased"]
    assert erased[["raw", "layout", "file"]].isna().all(axis=None)
    assert quarantine.loc[quarantine["reason"] != "erased", "raw"].tolist() == ["cut,nobody"]
