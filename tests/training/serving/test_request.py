"""Requests at fault are refused with the field and the row; what is asked for is read from the rest."""

import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from training.errors import RequestError
from training.serving import request
from training.serving.request import Asked, from_records, read_request, read_unit

EVENT = {"user_id": "u", "item_id": "i", "ts": "2024-03-01T00:00:00Z"}


def read(rows: Any, keyed: bool = False, **more: Any) -> Asked:
    frame = rows if isinstance(rows, pd.DataFrame) else from_records(rows)
    given: dict[str, Any] = {"top_k": 10, "as_of": "2024-04-01", "unit": "iso"} | more
    return read_request(frame, keyed=keyed, **given)


def test_users_come_in_the_order_of_the_request() -> None:
    rows = [
        {"user_id": "b"},
        EVENT | {"user_id": 7},
        {"user_id": "b", "candidate_id": "x"},
        EVENT | {"user_id": "a"},
        {"user_id": "b", "candidate_id": 12},
        EVENT | {"user_id": "7", "category_id": "c"},
    ]
    asked = read(rows)
    assert asked.user_ids == ["b", "7", "a"]
    assert asked.user.tolist() == [1, 2, 1]
    assert asked.candidates == {0: ["x", "12"]}
    assert asked.with_categories and asked.as_of == int(datetime(2024, 4, 1, tzinfo=UTC).timestamp()) * 10**6
    assert asked.events.column("category_id").to_pylist() == [None, None, "c"]
    assert asked.events.num_rows == 3
    assert not read([EVENT]).with_categories


def test_columns_of_text_that_mlflow_packed_into_a_row() -> None:
    packed = pd.DataFrame([{"user_id": ["a", "b"], "item_id": ["x", "y"], "ts": [EVENT["ts"]] * 2}])
    assert read(packed).user_ids == ["a", "b"]


WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no list": ({"user_id": "u"}, {}, "events are {'user_id': 'u'}; give a list of records"),
    "no record": ([EVENT, 5], {}, "row 1: 5 is no record"),
    "no row": (pd.DataFrame(columns=list(EVENT)), {}, "the request holds no row"),
    "no column": ([{"user_id": "u", "item_id": "i"}], {}, "column ts is missing"),
    "unknown column": ([EVENT | {"categoryid": "c"}], {}, "'categoryid' is unknown; did you mean"),
    "strange column": ([EVENT | {"zzz": 1}], {}, "column 'zzz' is unknown; known: user_id, item_id, ts"),
    "number for a column": (pd.DataFrame([[1, 2]]), {}, "column 0 is unknown"),
    "column twice": (
        pd.DataFrame([["u", "i", "i", EVENT["ts"]]], columns=["user_id", "item_id", "item_id", "ts"]),
        {},
        "column 'item_id' is given twice",
    ),
    "no user": ([EVENT, EVENT | {"user_id": None}], {}, "row 1: user_id is missing or blank"),
    "blank user": ([EVENT | {"user_id": "  "}], {}, "row 0: user_id is missing or blank"),
    "user is NaN": ([EVENT | {"user_id": float("nan")}], {}, "row 0: user_id is missing"),
    "no item": ([EVENT, EVENT | {"item_id": None}, EVENT | {"item_id": ""}], {},
                r"row 1: ts is given without item_id; .* \(and 1 rows more\)"),
    "no time": ([EVENT | {"ts": None}], {}, "row 0: item_id is given without ts"),
    "user is a flag": ([EVENT | {"user_id": True}], {}, r"row 0: user_id is True \(bool\)"),
    "nested item": ([EVENT | {"item_id": {"id": ["i"]}}], {}, r"row 0: item_id is {'id': \['i'\]} \(dict\)"),
    "nested category": ([EVENT | {"category_id": ["c"]}], {}, r"row 0: category_id is \['c'\] \(list\)"),
    "type is a fraction": ([EVENT | {"event_type": 0.5}], {}, r"row 0: event_type is 0.5 \(float\)"),
    "negative time": ([EVENT | {"ts": -1}], {"unit": "s"}, "row 0: ts is -1"),
    "huge time": ([EVENT | {"ts": 10**25}], {"unit": "s"}, "row 0: ts is 10+"),
    "time without unit": ([EVENT | {"ts": 1_700_000_000}], {}, "row 0: ts is the number 1700000000"),
    "time is text": ([EVENT | {"ts": "soon"}], {}, "row 0: ts is 'soon'"),
    "event and question": ([EVENT | {"candidate_id": "x"}], {}, "row 0: is an event and asks for"),
    "some event ids": ([EVENT | {"event_id": "e"}, EVENT], {}, "row 1: event_id is missing, though"),
    "sequence is text": ([EVENT | {"sequence": "first"}], {}, "row 0: sequence is 'first'; give a"),
    "sequence is a fraction": ([EVENT | {"sequence": 1.5}], {}, "row 0: sequence is 1.5"),
    "columns of lists differ": (
        pd.DataFrame([{"user_id": ["a"], "item_id": ["x", "y"], "ts": ["t"]}]), {}, "differ in length"),
    "top_k 0": ([EVENT], {"top_k": 0}, "top_k = 0; give a whole number from 1 to 1,000"),
    "top_k huge": ([EVENT], {"top_k": 10**9}, "top_k = 1000000000"),
    "top_k is a flag": ([EVENT], {"top_k": True}, "top_k = True"),
    "top_k is text": ([EVENT], {"top_k": "ten"}, "top_k = 'ten'"),
    "as_of is text": ([EVENT], {"as_of": "now"}, "^as_of is 'now'"),
    "as_of is nothing": ([EVENT], {"as_of": float("nan")}, "as_of = nan; give the time"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_request_at_fault_is_told_what_and_where(case: str) -> None:
    rows, more, message = WRONG[case]
    with pytest.raises(RequestError, match=message):
        read(rows, **more)


def test_sessions_of_the_source_need_their_keys() -> None:
    assert read([EVENT | {"session_key": "s"}, {"user_id": "v"}], keyed=True).user_ids == ["u", "v"]
    with pytest.raises(RequestError, match="row 1: session_key is missing"):
        read([EVENT | {"session_key": "s"}, EVENT], keyed=True)


def test_a_request_has_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [EVENT | {"user_id": n} for n in range(5)]
    monkeypatch.setattr(request, "MAX_USERS", 4)
    with pytest.raises(RequestError, match="5 users in one request; ask for 4 at most"):
        read(many)
    monkeypatch.setattr(request, "MAX_ROWS", 3)
    with pytest.raises(RequestError, match="5 rows in one request; send 3 at most"):
        read(many)


def test_units() -> None:
    assert (read_unit("", "ms"), read_unit("s", "iso"), read_unit("iso", "s")) == ("ms", "s", "iso")
    with pytest.raises(RequestError, match="ts_unit = 'minutes'; give s, ms, us or iso"):
        read_unit("minutes", "s")


def test_the_frame_is_not_changed() -> None:
    frame = pd.DataFrame([EVENT, EVENT | {"user_id": 3}], index=[7, 7])
    before = frame.copy()
    read(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_a_large_request_is_read_without_a_loop_over_its_rows() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"user_id": "u", "item_id": rng.integers(0, 99, 50_000), "ts": 1_700_000_000})
    began = time.process_time()
    read(frame, unit="s")
    assert time.process_time() - began < 1
