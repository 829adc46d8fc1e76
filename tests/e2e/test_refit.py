"""A refit over a published warehouse on a day with late events: what goes on, and what is new."""

import shutil
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from tests.content import require_same_contents, table
from tests.e2e.builds import START, Case, true_events

pytestmark = [pytest.mark.usefixtures("spark"), pytest.mark.slow]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return true_events(tmp_path_factory.mktemp("generated"))


@pytest.fixture(scope="module")
def days(events: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Six days are built, but for some events of the sixth; ``rest`` has these and the days behind."""
    case = Case(tmp_path_factory.mktemp("days"))
    day = pd.to_datetime(events["ts"], utc=True).dt.day
    held_back = (day == 6) & (pd.util.hash_array(events["event_id"].to_numpy()) % 20 == 0)
    first = (day <= 6) & ~held_back
    case.build(case.write(events[first], "first"))
    case.write(events[~first], "rest")
    case.write(events, "all")
    return case


def copy(days: Case, folder: Path) -> Case:
    shutil.copytree(days.folder, folder, dirs_exist_ok=True)
    return Case(folder)


def superseded(case: Case, warehouse: str = "warehouse") -> list[str]:
    return sorted(table(case.path(warehouse), "silver/superseded_sessions")["session_id"])


def themes(case: Case, fit_id: str) -> dict[int, set[str]]:
    """The best categories of each theme of a fit, by name."""
    names = table(case.path(), "silver/categories").set_index("index")["id"]
    rows = table(case.path(), "silver/themes").query("fit_id == @fit_id")
    return {
        row.theme_id: {names[one["index"]] for one in row.top_categories[:3]} for row in rows.itertuples()
    }


def test_a_refit_makes_all_rows_anew_and_keeps_names(days: Case, tmp_path: Path) -> None:
    """Themes keep their ids, ids of split sessions are kept, and the rows are those of one full build."""
    case = copy(days, tmp_path)
    old = table(case.path(), "silver/sessions")
    fits = [case.published().fit_id]
    summary = case.build(case.folder / "rest", fit="refit")
    fits.append(case.published().fit_id)
    assert summary["made_anew"] == "a new fit" and summary["fit_id"] == fits[1] != fits[0]

    before, after = (themes(case, fit_id) for fit_id in fits)
    assert len(before) == 6 and after == before
    drift = summary["fit"]["drift"]
    assert drift["previous_fit"] == fits[0] and drift["shared_vectors"] > 100
    assert {int(theme) for theme in drift["kept"]} == set(before) and not drift["born"] + drift["ended"]
    assert min(drift["kept"].values()) > 0.9 and drift["changed_share"] < 0.05

    gone = set(old["session_id"]) - set(table(case.path(), "silver/sessions")["session_id"])
    assert gone and superseded(case) == sorted(gone)

    shutil.copytree(case.path(), case.path("whole"))
    case.build(case.folder / "all", "whole", full_refresh=True, fit="frozen")
    assert case.published("whole").fit_id == fits[1]
    require_same_contents(case.path(), case.path("whole"))
    assert superseded(case, "whole") == superseded(case), "a run that starts over adds none"


def test_an_earlier_as_of_supersedes_no_session_that_waits(days: Case, tmp_path: Path) -> None:
    """Late events split sessions before noon; those that begin at noon or later only wait."""
    case = copy(days, tmp_path)
    old = table(case.path(), "silver/sessions")
    noon = START + timedelta(days=5, hours=12)
    summary = case.build(case.folder / "rest", as_of=noon)
    assert "as_of lies before" in summary["made_anew"]
    visible = old.loc[old["start_ts"] < noon.replace(tzinfo=None), "session_id"]
    gone = set(visible) - set(table(case.path(), "silver/sessions")["session_id"])
    assert gone and superseded(case) == sorted(gone) and len(visible) < len(old)
