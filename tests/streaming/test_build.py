"""Streams and builds in one warehouse: sequences of what streams brought, equal to one batch build."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipelines.errors import ConfigError
from pipelines.pointer import published
from pipelines.streaming import StreamRequest, stream
from pipelines.warehouse import Warehouse
from tests.content import require_same_contents, table
from tests.e2e.builds import NOW, Case, true_events

pytestmark = [pytest.mark.usefixtures("spark"), pytest.mark.slow]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return true_events(tmp_path_factory.mktemp("generated"))


def take_in(case: Case, source: Path, warehouse: str = "warehouse") -> Any:
    config, root = str(case.folder / "config.toml"), str(case.path(warehouse))
    return stream(StreamRequest(config, str(source), warehouse=root, once=True, clock=lambda: NOW))


def from_bronze(case: Case, **request: Any) -> Any:
    return case.build(None, from_bronze=True, **request)


def test_a_stream_beside_builds_equals_one_full_build(
    events: pd.DataFrame, tmp_path: Path, spark: Any
) -> None:
    """A build of six days; then files arrive, with late events and copies, and builds follow them."""
    case = Case(tmp_path)
    day = pd.to_datetime(events["ts"], utc=True).dt.day
    late = (day == 6) & (pd.util.hash_array(events["event_id"].to_numpy()) % 20 == 0)
    first = case.build(case.write(events[(day <= 6) & ~late], "first"))
    arriving = tmp_path / "arriving"
    arriving.mkdir()
    root = str(case.path())

    events[day == 7].to_csv(arriving / "a.csv", index=False)
    take_in(case, arriving)
    pointer = published(root)
    assert pointer is not None and pointer.built_by == first["run_id"] and pointer.number == 1
    assert pointer.versions["gold/user_sequences"] == first["versions"]["gold/user_sequences"]
    # What a died run left in bronze is undone, what the stream published is not.
    Warehouse(spark, root, "died").append(spark.read.format("delta").load(f"{root}/bronze/events").limit(5),
                                          "bronze/events")  # fmt: skip
    pd.concat([events[(day == 8) | late], events[day == 7].head(50)]).to_csv(arriving / "b.csv", index=False)
    assert take_in(case, arriving)["duplicates"] == 50
    second = from_bronze(case)
    assert "made_anew" not in second
    streamed = int(((day == 7) | (day == 8) | late).sum())
    assert (second["events_in"], second["events_kept"]) == (streamed + 50, streamed)
    assert len(table(case.path(), "silver/superseded_sessions")) > 0

    nothing = from_bronze(case)
    assert (nothing["events_in"], nothing["versions"]) == (0, second["versions"])
    events[day >= 9].to_csv(arriving / "c.csv", index=False)
    take_in(case, arriving)
    from_bronze(case)

    shutil.copytree(case.path(), case.path("whole"))
    with pytest.raises(ConfigError, match="--full-refresh would drop the events that arriving-"):
        case.build(case.write(events, "all"), full_refresh=True, fit="frozen")
    whole = case.build(None, "whole", from_bronze=True, full_refresh=True, fit="frozen")
    assert whole["made_anew"] == "--full-refresh"
    require_same_contents(case.path(), case.path("whole"))
    assert sorted(table(case.path(), "bronze/events")["event_id"]) == sorted(events["event_id"])


def test_a_build_from_bronze_needs_a_bronze(tmp_path: Path) -> None:
    case = Case(tmp_path)
    with pytest.raises(ConfigError, match="has no published bronze/events yet"):
        from_bronze(case)
    with pytest.raises(ConfigError, match="--from-bronze reads no source"):
        from_bronze(case, retry_rejected=True)
