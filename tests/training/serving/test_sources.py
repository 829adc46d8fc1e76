"""Sources of other kinds: without types, with sessions of their own, with categories from a side table."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.sessions import SessionRule
from tests.training.serving import warehouse as small
from training.errors import RequestError
from training.fit.run_folder import RunFolder
from training.serving.collect import collect
from training.serving.served import Served
from training.vocabulary import TrainVocabulary

AS_OF = datetime(2024, 3, 9, tzinfo=UTC)
MINUTES = [0, 1, 2, 40, 41, 42, 43]


def rows(**more: Any) -> list[dict[str, Any]]:
    """Seven events of a user in two visits."""
    times = [f"2024-03-08T00:{minute:02d}:00Z" for minute in MINUTES]
    return [{"user_id": "u", "item_id": f"i{n}", "ts": ts} | more for n, ts in enumerate(times)]


def row_of(served: Served, request: list[dict[str, Any]], **more: Any) -> dict[str, list[int]]:
    """The user's row of ``gold/user_sequences``, without its padding."""
    (row,) = served.read(request, as_of=AS_OF, **more)[1].rows.to_pylist()
    length = row["length"]
    return {name.removeprefix("events__"): values[-length:] for name, values in row.items()
            if name.startswith("events__")}  # fmt: skip


def opens(served: Served, request: list[dict[str, Any]], as_of: datetime) -> bool:
    (answer,) = served.recommend(request, as_of=as_of).to_dict("records")
    return not answer["session_open"]


@pytest.fixture
def model(served: Callable[[str], Served]) -> Served:
    return served("mos")


def other(model: Served, **rules: Any) -> Served:
    """The model for a source with other rules."""
    return replace(model, source=replace(model.source, **rules))


def test_types_of_a_source_without_types_are_not_read(model: Served) -> None:
    found = row_of(other(model, typed=False, event_types={}), rows(event_type="buy"))
    assert set(found["mode"]) == {1} and set(found["type"]) == {1}
    purchases = row_of(other(model, typed=False, event_types={}, unlisted="purchase"), rows())
    assert set(purchases["mode"]) == {3}


def test_unlisted_types_have_the_mode_that_the_source_gives_them(model: Served) -> None:
    kept = other(model, unlisted="feedback")
    assert row_of(kept, rows(event_type="liked"))["mode"] == [4] * 7
    assert row_of(kept, rows(event_type="buy"))["mode"] == [3] * 7
    (answer,) = model.recommend(rows(event_type="liked"), as_of=AS_OF).to_dict("records")
    assert answer["events"]["unlisted_type"] == 7 and answer["events"]["read"] == 0


def test_sessions_by_a_number_of_events(model: Served) -> None:
    by_three = other(model, sessions=SessionRule("every_n", every_n=3))
    assert row_of(by_three, rows())["session"] == [1, 1, 1, 2, 2, 2, 3]
    far = datetime(2030, 1, 1, tzinfo=UTC)
    assert [opens(by_three, rows()[:n], far) for n in (2, 3, 4)] == [False, True, False]


def test_sessions_of_the_source(model: Served) -> None:
    keyed = other(model, sessions=SessionRule("source_key"))
    request = [row | {"session_key": key} for row, key in zip(rows(), "aabbbaa", strict=True)]
    assert row_of(keyed, request)["session"] == [1, 1, 2, 2, 2, 3, 3]
    with pytest.raises(RequestError, match="row 6: session_key is missing: this model's source"):
        keyed.recommend([*request[:6], rows()[6]], as_of=AS_OF)


def test_numbers_are_in_the_sources_unit(model: Served) -> None:
    start = int(datetime(2024, 3, 8, tzinfo=UTC).timestamp())
    request = [row | {"ts": (start + 60 * at) * 1000} for row, at in zip(rows(), MINUTES, strict=True)]
    assert row_of(other(model, ts_unit="ms"), request) == row_of(model, rows())


def test_a_wrong_clocks_events_are_left_out_where_the_source_has_a_first_day(model: Served) -> None:
    early = [row | {"ts": "1970-01-01"} for row in rows()]
    assert row_of(other(model, start=None), early)["ts"] == [0] * 7
    assert model.read(early, as_of=AS_OF)[1].rows.num_rows == 0


def test_a_side_table_names_every_item_and_its_category(
    run_of: Callable[[str], Path], events: pd.DataFrame, tmp_path: Path
) -> None:
    settings = small.SETTINGS | {"items": {"item_id": "item_id", "category_id": "category_id"}}
    root = small.build(tmp_path / "warehouse", events, settings)
    run = shutil.copytree(run_of("mos"), tmp_path / "run")
    traced = json.loads((run / "run.json").read_text())
    traced["table"]["path"] = f"{root}/gold/user_sequences"
    (run / "run.json").write_text(json.dumps(traced))
    vocabulary = TrainVocabulary.load(run / "vocabulary.parquet")
    few = replace(vocabulary, ids={}, items=type(vocabulary.items).of(np.array([0, 0, 9]), 1),
                  item_category=np.array([0, 1, 2], np.int32))  # fmt: skip
    names = collect(RunFolder(run), few).names
    items, categories = small.indices(events["item_id"]), small.indices(events["category_id"])
    assert names.items == items
    counts = events.groupby(["item_id", "category_id"]).size()
    for item, index in items.items():
        own = counts[item]
        assert names.item_category[index] in {categories[name] for name in own.index[own == own.max()]}
