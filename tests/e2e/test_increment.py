"""Days of events, one run each, against one run over all of them with the same fit."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.content import contents, table
from tests.e2e.builds import Case, true_events

pytestmark = [pytest.mark.usefixtures("spark"), pytest.mark.slow]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return true_events(tmp_path_factory.mktemp("generated"))


def require_equal(case: Case, parts: str, whole: str) -> None:
    there, here = contents(case.path(whole)), contents(case.path(parts))
    for name, rows in there.items():
        assert here[name] == rows, name


def test_days_equal_one_full_build(events: pd.DataFrame, tmp_path: Path) -> None:
    """The first days learn; then a day a run, one of them late by a day in part, one twice."""
    case = Case(tmp_path)
    day = pd.to_datetime(events["ts"], utc=True).dt.day
    late = (day == 6) & (pd.util.hash_array(events["event_id"].to_numpy()) % 20 == 0)
    arrival = day.where(~late, 7).clip(lower=5)
    for number in sorted(arrival.unique()):
        own = events[arrival == number]
        if number == 8:
            own = pd.concat([own, events[arrival == 7]])
        summary = case.build(case.write(own.sample(frac=1, random_state=1), f"day-{number}"))
        if number > 5:
            assert "made_anew" not in summary
    assert len(table(case.path(), "silver/superseded_sessions")) > 0
    case.write(events, "all")
    shutil.copytree(case.path(), case.path("whole"))
    summary = case.build(case.folder / "all", "whole", full_refresh=True, fit="frozen")
    assert summary["made_anew"] == "--full-refresh"
    require_equal(case, "warehouse", "whole")
