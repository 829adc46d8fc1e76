"""What a served model does with histories of every kind."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.training.serving import warehouse as small
from tests.training.serving.test_parity import as_given
from training.errors import RequestError
from training.published import latest
from training.serving.scoring import scored
from training.serving.served import Served

RETRIEVAL = ("mos", "mos_fused", "ulim", "sasrec", "cmsl", "popularity", "frequency")
CLICK = ("din", "mos_click")
NOW = datetime(2024, 3, 9, tzinfo=UTC)


def event(user: str, item: str, minute: float, **more: Any) -> dict[str, Any]:
    """An event so many minutes after midnight of 2024-03-08."""
    at = datetime(2024, 3, 8, tzinfo=UTC) + timedelta(minutes=minute)
    return {"user_id": user, "item_id": item, "ts": at.isoformat(), "event_type": "pv"} | more


def one(model: Served, rows: list[dict[str, Any]], as_of: datetime = NOW, **more: Any) -> dict[str, Any]:
    (answer,) = model.recommend(rows, as_of=as_of, **more).to_dict("records")
    found: dict[str, Any] = answer
    return found


HISTORY = [event("u", f"i{n}", 5 * n, category_id=f"c{n}") for n in range(6)]


@pytest.mark.parametrize("name", RETRIEVAL)
def test_every_model_answers_for_known_and_new_users(
    served: Callable[[str], Served], events: pd.DataFrame, warehouse: Path, name: str
) -> None:
    model, as_of = served(name), latest(str(warehouse)).as_of
    request = pd.concat([as_given(events), pd.DataFrame([{"user_id": "new"}])])
    answers = model.recommend(request, as_of=as_of, top_k=7)
    assert answers["user_id"].tolist() == list(dict.fromkeys(request["user_id"]))
    catalogue = set(events["item_id"])
    for answer in answers.to_dict("records"):
        assert len(set(answer["items"])) == len(answer["scores"]) == 7 and set(answer["items"]) <= catalogue
        assert np.isfinite(answer["scores"]).all() and (np.diff(answer["scores"]) <= 0).all()
    newcomer = answers.set_index("user_id").loc["new"]
    assert newcomer["theme"] is None and not newcomer["session_open"] and newcomer["strands"] == []
    assert newcomer["events"]["read"] == newcomer["events"]["given"] == 0
    pd.testing.assert_frame_equal(model.recommend(request, as_of=as_of, top_k=7), answers)


@pytest.mark.parametrize("name", ("mos", "ulim", "sasrec", "frequency"))
def test_users_do_not_change_each_others_answers(
    served: Callable[[str], Served], events: pd.DataFrame, warehouse: Path, name: str
) -> None:
    model, as_of = served(name), latest(str(warehouse)).as_of
    request = as_given(events)
    request["event_id"] = request["event_id"].str.split("-").str[1]  # counted by user
    together = model.recommend(request, as_of=as_of).set_index("user_id")
    for user, own in request.groupby("user_id"):
        (alone,) = model.recommend(own, as_of=as_of).to_dict("records")
        assert alone["items"] == together.loc[user, "items"]
        assert alone["scores"] == pytest.approx(together.loc[user, "scores"], rel=1e-5, abs=1e-6)
        assert alone["events"] == together.loc[user, "events"]


def test_unknown_ids_are_read_as_unknown(served: Callable[[str], Served]) -> None:
    model = served("mos")
    strange = one(model, [*HISTORY, event("u", "never seen", 31, category_id="nor this")])
    assert strange["events"]["unknown_item"] == 1 and strange["events"]["read"] == 7
    assert "never seen" not in str(strange["strands"]) and len(strange["items"]) == 10
    nothing = one(model, [event("u", "x", 1), event("u", "y", 2)])
    assert nothing["events"]["unknown_item"] == nothing["events"]["read"] == 2 and nothing["theme"] is None


def test_what_is_left_out_is_counted(served: Callable[[str], Served]) -> None:
    rows = [
        *HISTORY,
        *HISTORY[:2],
        event("u", "i1", 9, event_type="liked"),
        event("u", "i1", 24 * 60),
        event("u", "i2", 60 * 60),
        event("u", "i3", -99 * 24 * 60),
    ]
    answer, plain = one(served("mos"), rows), one(served("mos"), HISTORY)
    left_out = {"duplicate": 2, "unlisted_type": 1, "not_before_as_of": 2, "before_source_start": 1}
    assert answer["events"] == left_out | {"given": 12, "unknown_item": 0, "read": 6}
    assert {key: answer[key] for key in ("items", "scores", "strands")} == {
        key: plain[key] for key in ("items", "scores", "strands")
    }


def test_the_order_of_the_rows_means_nothing(served: Callable[[str], Served]) -> None:
    rows = [*HISTORY, event("u", "i9", 7), event("u", "i9", 7, event_type="buy"), event("u", "i8", 7)]
    orders = [np.random.default_rng(seed).permutation(9) for seed in range(5)]
    answers = [one(served("mos"), [rows[at] for at in order]) for order in orders]
    assert all(answer == answers[0] for answer in answers)


def test_a_request_without_categories_gets_the_items_own(served: Callable[[str], Served]) -> None:
    bare = [{name: value for name, value in row.items() if name != "category_id"} for row in HISTORY]
    model = served("ulim")
    assert one(model, bare)["scores"] == one(model, HISTORY)["scores"]
    unnamed = [*HISTORY[:-1], HISTORY[-1] | {"category_id": None}]
    assert one(model, unnamed)["scores"] != one(model, HISTORY)["scores"]


def test_a_type_may_be_missing(served: Callable[[str], Served]) -> None:
    rows = [{name: value for name, value in row.items() if name != "event_type"} for row in HISTORY]
    assert one(served("mos"), rows)["events"]["read"] == 6


def test_the_session_is_open_until_its_gap_is_over(served: Callable[[str], Served]) -> None:
    end = datetime(2024, 3, 8, 0, 25, tzinfo=UTC)
    for later, is_open in ((timedelta(minutes=30), True), (timedelta(minutes=30, microseconds=1), False)):
        assert one(served("mos"), HISTORY, as_of=end + later)["session_open"] is is_open


def test_the_strands_tell_what_an_answer_rests_on(served: Callable[[str], Served]) -> None:
    answer = one(served("mos"), HISTORY)
    families = [strand["family"] for strand in answer["strands"]]
    assert families[:2] == ["recent", "window"] and set(families[2:]) <= {"theme", "code"} and families[2:]
    assert sum(strand["weight"] for strand in answer["strands"]) == pytest.approx(1, rel=1e-5)
    assert answer["strands"][0]["items"] == ["i5", "i4", "i3", "i2", "i1", "i0"]
    ulim = one(served("ulim"), HISTORY)
    assert {strand["family"] for strand in ulim["strands"]} == {"recent", "category"}
    for strand in ulim["strands"][1:]:
        assert strand["items"] == [f"i{strand['key'][1:]}"] and 0 < strand["weight"] < 0.5


@pytest.mark.parametrize("name", ("mos", "mos_fused", "ulim", "sasrec"))
def test_what_is_told_is_what_the_model_scores(
    served: Callable[[str], Served], events: pd.DataFrame, warehouse: Path, name: str
) -> None:
    model = served(name)
    asked, found = model.read(as_given(events), as_of=latest(str(warehouse)).as_of)
    with torch.inference_mode():
        for part in model.asking.questions(found.rows, asked.user_ids, asked.as_of):
            told: Any = scored(model.model, part.rows, part.samples).scores
            direct = model.model.score_catalogue(part.rows, part.samples)  # type: ignore[operator]
            assert torch.allclose(told, direct, rtol=1e-6)


@pytest.mark.parametrize("name", ("mos", "sasrec", "frequency"))
def test_candidates_are_scored_as_given(served: Callable[[str], Served], name: str) -> None:
    wanted = ["i7", "i3", "unheard of", "i7"]
    rows = [*HISTORY, *({"user_id": "u", "candidate_id": item} for item in wanted), {"user_id": "v"}]
    answers = served(name).recommend(rows, as_of=NOW, top_k=60).set_index("user_id")
    assert answers.loc["u", "items"] == wanted
    first, second, unknown, again = answers.loc["u", "scores"]
    everything = one(served(name), HISTORY, top_k=60)
    score = dict(zip(everything["items"], everything["scores"], strict=True))
    assert (first, second) == pytest.approx((score["i7"], score["i3"]), rel=1e-5)
    assert unknown is None and again == first and len(answers.loc["v", "items"]) > 10


@pytest.mark.parametrize("name", CLICK)
def test_click_models_rank_candidates_only(served: Callable[[str], Served], name: str) -> None:
    model = served(name)
    asked = [{"user_id": user, "candidate_id": item} for user in "uv" for item in ("i7", "?", "i3")]
    rows = [*HISTORY, *asked]
    answers = model.recommend(rows, as_of=NOW)
    for answer in answers.to_dict("records"):
        assert answer["items"] == ["i7", "?", "i3"] and answer["scores"][1] is None
        assert np.isfinite([answer["scores"][0], answer["scores"][2]]).all()
    alone = one(model, [*HISTORY, {"user_id": "u", "candidate_id": "i3"}])
    assert alone["scores"] == pytest.approx([answers["scores"][0][2]], rel=1e-5)
    with pytest.raises(RequestError, match=f"{name} ranks given candidates, and a user has none"):
        model.recommend(HISTORY, as_of=NOW)


def test_a_long_history_is_answered_for_like_any_other(served: Callable[[str], Served]) -> None:
    long = [event("u", f"i{n % 50}", n / 50 - 9000, category_id=f"c{n % 9}") for n in range(20_000)]
    answer = one(served("mos"), long)
    assert answer["events"]["given"] == 20_000 and 10 < answer["events"]["read"] < 64
    assert answer["items"] == one(served("mos"), long[-2_000:])["items"]


def test_now_is_the_default(served: Callable[[str], Served]) -> None:
    later = [event("u", "i1", 0) | {"ts": "2200-01-01"}]
    (answer,) = served("mos").recommend([*HISTORY, *later]).to_dict("records")
    assert answer["events"]["not_before_as_of"] == 1 and answer["events"]["read"] == 6


def test_numbers_are_times_in_the_unit_given(served: Callable[[str], Served]) -> None:
    rows = [row | {"ts": int(datetime.fromisoformat(row["ts"]).timestamp() * 1000)} for row in HISTORY]
    answer = one(served("mos"), rows, as_of=NOW, ts_unit="ms")
    assert answer == one(served("mos"), HISTORY)
    with pytest.raises(RequestError, match="row 0: ts is the number 17"):
        one(served("mos"), rows)


def test_the_vocabularies_hold_what_the_model_and_the_themes_know(
    served: Callable[[str], Served], events: pd.DataFrame
) -> None:
    model = served("mos")
    assert model.names.items.items() <= small.indices(events["item_id"]).items()
    assert model.names.categories == small.indices(events["category_id"])
    trained = {name for name in model.vocabulary.ids["items"] if name is not None}
    assert trained <= model.names.items.keys()
