"""Expanding a row gives back the events of each strand, as the definition has them."""

import doctest

import numpy as np
import pandas as pd
import pytest

import features.explore
import features.strands
from features.chunks import chunk_block
from features.explore import expand, expand_frame
from tests.features.tagged import blocks, history, random_history, small_spec
from tests.oracles import chunks, strands

SPEC = small_spec(3, 2, 2, targets=6)
#        session 1: category 2, 3; theme 5    session 2: category 2; theme 6
EVENTS = history([(1_000_000, False, 2, 1, 5), (1_000_000, False, 3, 1, 5), (1_500_000, True, 2, 2, 6)])


def rows_of(users: dict) -> list[dict]:
    ((block, running, session),) = blocks(users, set())
    batches, _ = chunk_block(block, running, session, SPEC, None)
    return [row for batch in batches for row in batch.to_pylist()]


def test_strands_of_a_row() -> None:
    (row,) = rows_of({"ann": EVENTS})
    items = [[event["item"] for event in strand] for strand in expand(row, "category")]
    assert items == [[2, 4], [3]]
    assert expand(row, "theme")[0] == [
        {
            "ordinal": 3,
            "item": 4,
            "category": 2,
            "type": 2,
            "mode": 2,
            "ts": 4,
            "session": 2,
            "theme_session": 6,
            "theme_running": 6,
        }
    ]


def test_names_replace_codes_where_they_are_known() -> None:
    (row,) = rows_of({"ann": EVENTS})
    events = expand(row, "recent", {"item": {2: "tea", 4: "pot"}, "category": {2: "kitchen"}})[0]
    assert [(event["item"], event["category"]) for event in events] == [
        ("tea", "kitchen"),
        (3, 3),
        ("pot", "kitchen"),
    ]


def test_frame_of_a_row() -> None:
    frame = expand_frame(rows_of({"ann": EVENTS}), "category", {"item": {4: "pot"}})
    expected = pd.DataFrame(
        [
            ("ann", 0, 0, 2, 0, 1, 2, 2, 1, "1970-01-01T00:00:02Z"),
            ("ann", 0, 0, 2, 1, 3, "pot", 2, 2, "1970-01-01T00:00:04Z"),
            ("ann", 0, 1, 3, 1, 2, 3, 3, 1, "1970-01-01T00:00:03Z"),
        ],
        columns=[
            "user_id",
            "chunk",
            "strand",
            "key",
            "place",
            "ordinal",
            "item",
            "category",
            "type",
            "ts",
        ],
    )
    expected["ts"] = pd.to_datetime(expected["ts"])
    assert frame.to_dict("records") == expected.to_dict("records")


def test_frame_without_rows_has_its_columns() -> None:
    frame = expand_frame([], "theme")
    assert list(frame.columns[:5]) == ["user_id", "chunk", "strand", "key", "place"]
    assert isinstance(frame["ts"].dtype, pd.DatetimeTZDtype)


def test_unknown_family_names_those_there_are() -> None:
    with pytest.raises(KeyError, match="no strand family 'topic'; it has category, mode, recent"):
        expand(rows_of({"ann": EVENTS})[0], "topic")


@pytest.mark.parametrize("family", [family.name for family in SPEC.families])
def test_agrees_with_the_definition(family: str) -> None:
    rng = np.random.default_rng(5)
    users = {name: random_history(rng, 30) for name in "ab"}
    for row in rows_of(users):
        events = users[row["user_id"]]
        _, end, _ = chunks.chunks(events, SPEC)[row["chunk"]]
        built = [[event["ordinal"] - 1 for event in strand] for strand in expand(row, family)]
        assert built == [places for _, places in strands.strands(events, end, SPEC.family(family))]


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(features.explore).failed == 0
    assert doctest.testmod(features.strands, globs={"np": np, "ramp": features.strands.ramp}).failed == 0
