"""Days of events, one run each, against one run over all of them with the same fit."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from tests.content import WITH_REFUSED, require_same_contents, table
from tests.e2e.builds import COLUMNS, Case, true_events

pytestmark = [pytest.mark.usefixtures("spark"), pytest.mark.slow]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return true_events(tmp_path_factory.mktemp("generated"))


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
    require_same_contents(case.path(), case.path("whole"))


def arrive(folder: Path, name: str, events: pd.DataFrame, lines: list[str]) -> None:
    """A file of events, and of lines that are none."""
    folder.mkdir(exist_ok=True)
    text = events[COLUMNS].to_csv(index=False) + "".join(f"{line}\n" for line in lines)
    (folder / name).write_text(text)


def test_days_of_a_growing_folder_equal_one_build(events: pd.DataFrame, tmp_path: Path) -> None:
    """Each with a lookback of a day; the first days' broken lines would be too large a share later."""
    case = Case(tmp_path, ["gates.max_rejected_share=0.01"])
    day = pd.to_datetime(events["ts"], utc=True).dt.day.clip(lower=6)
    source = tmp_path / "source"
    found = []
    for number in (6, 7, 8):
        broken = [f"cut,{number}-{line}" for line in range(20 if number == 6 else 1)]
        unknown = f"odd-{number},u,i,c,odd,2026-01-{number:02}T12:00:00Z"
        arrive(source, f"{number}.csv", events[day == number], [*broken, unknown])
        end = datetime(2026, 1, number + 1, tzinfo=UTC)
        start = None if number == 6 else end - timedelta(days=2)
        found.append(case.build(source, start=start, end=end))
    assert [sum(summary["rejected"].values()) for summary in found] == [21, 2, 2]
    assert [summary["refused_before"] for summary in found] == [0, 21, 22]
    shutil.copytree(case.path(), case.path("whole"))
    case.build(source, "whole", full_refresh=True, fit="frozen")
    assert len(table(case.path(), "bronze/events_rejected")) == 25
    require_same_contents(case.path(), case.path("whole"), WITH_REFUSED)


def test_refused_rows_get_in_days_later(events: pd.DataFrame, tmp_path: Path) -> None:
    """Under the gates' defaults, though the watermark went on; what came late or is broken stays out."""
    case = Case(tmp_path, ["gates.max_rejected_share=0.01"])
    day = pd.to_datetime(events["ts"], utc=True).dt.day
    old = events[day == 2]
    odd, late = old.head(5).assign(event_type="share"), old.tail(1)
    rest = events[~events["event_id"].isin([*odd["event_id"], *late["event_id"]])]
    arrive(tmp_path / "first", "a.csv", pd.concat([rest[day[rest.index] <= 6], odd]), ["cut"])
    arrive(tmp_path / "then", "b.csv", pd.concat([rest[day[rest.index] > 6], late]), [])
    assert case.build(tmp_path / "first")["rejected"] == {"unknown_event_type": 5, "wrong_field_count": 1}
    assert case.build(tmp_path / "then")["rejected"] == {"late": 1}
    again = case.build(None, retry_rejected=True, set=["source.event_types.share=feedback"])
    assert (again["events_in"], again["events_kept"]) == (7, 5)
    assert again["rejected"] == {"late": 1, "wrong_field_count": 1}
    taken = set(table(case.path(), "bronze/events")["event_id"])
    assert taken == set(events["event_id"]) - set(late["event_id"])
    nothing = case.build(None, retry_rejected=True, set=["source.event_types.share=feedback"])
    assert (nothing["events_kept"], nothing["rejected"]) == (0, again["rejected"])
