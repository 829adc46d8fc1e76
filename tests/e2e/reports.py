"""A warehouse with hostile ids and its reports: of a good run, of a run that a gate stopped, of a toy."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipelines.errors import GateError
from pipelines.synthetic.generate import generate
from tests.e2e.builds import COLUMNS, SETTINGS, Case

HOSTILE_USER = "<script>alert('user')</script>"
HOSTILE_ITEM = '</script><img src=x onerror="alert(1)">'
HOSTILE_CATEGORY = "O'Brien & <b>sons</b> \u2028"
FEW_TARGETS = ["sequences.targets=16"]
"""So that a user has many rows of gold."""


@dataclass(frozen=True)
class Reported:
    """A case, its first build's summary, and copies of its reports."""

    case: Case
    summary: Mapping[str, Any]
    good: Path
    failed: Path
    toy: Path


def hostile_events(folder: Path) -> pd.DataFrame:
    """Generated events in which the most active user, item and category have names that are markup."""
    generate(SETTINGS, folder)
    files = sorted((folder / "events").iterdir())
    events = pd.concat([pd.read_csv(file, dtype=str) for file in files])[COLUMNS]
    for column, name in (
        ("user_id", HOSTILE_USER),
        ("item_id", HOSTILE_ITEM),
        ("category_id", HOSTILE_CATEGORY),
    ):
        events[column] = events[column].replace(events[column].mode()[0], name)
    return events


def build_reports(folder: Path) -> Reported:
    """Three builds, one of which a gate stops."""
    events = hostile_events(folder / "generated")
    case = Case(folder)
    summary = case.build(case.write(events, "good"), set=FEW_TARGETS)
    good = shutil.copy(summary["report"], folder / "good.html")
    bad = events.assign(ts="<b>yesterday</b>", event_id="bad-" + events["event_id"])
    with pytest.raises(GateError):
        case.build(case.write(bad, "bad"), set=FEW_TARGETS)
    failed = shutil.copy(summary["report"], folder / "failed.html")
    few = events[events["user_id"].isin(events["user_id"].unique()[:3])].head(100)
    toy = case.build(case.write(few, "few"), "toy", set=["themes.count=2"])["report"]
    return Reported(case, summary, Path(good), Path(failed), Path(toy))
