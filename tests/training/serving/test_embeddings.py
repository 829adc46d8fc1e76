"""The vectors that a model exports: by the documented formula alone they give the model's own scores."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from features.embeddings import ITEM_VECTORS, USER_VECTORS
from pipelines.score.embeddings import fault_of
from tests.training.serving.test_parity import by_user, last_rows
from training.errors import RequestError
from training.model import as_model
from training.published import latest
from training.serving import embeddings
from training.serving.served import Served

Shares = Callable[[list[dict[str, Any]]], dict[str, float]]


def shares_of(items: pa.Table) -> Shares:
    """The formula of ``features.embeddings``, in NumPy."""
    ids, category = np.array(items["item_id"].to_pylist()), np.array(items["category_id"].to_pylist())
    table = np.array(items["vector"].to_pylist(), np.float64)

    def shares(vectors: list[dict[str, Any]]) -> dict[str, float]:
        total = np.zeros(len(ids))
        for each in vectors:
            searched = (
                np.full(len(ids), True) if each["category_id"] is None else category == each["category_id"]
            )
            logits = table[searched] @ np.array(each["vector"], np.float64)
            odds = np.exp(logits - logits.max())
            total[searched] += each["weight"] * odds / odds.sum()
        return dict(zip(ids.tolist(), total.tolist(), strict=True))

    return shares


def log_softmax(scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = scores - np.logaddexp.reduce(scores)
    return found


@pytest.mark.parametrize("name", ("sasrec", "token_moe", "mos", "mos_fused", "cmsl", "ulim", "ulim_global"))
def test_shares_are_the_models_scores(served: Callable[[str], Served], warehouse: Path, name: str) -> None:
    check(served(name), warehouse)


def test_shares_are_the_models_scores_where_few_categories_are_searched(
    served: Callable[[str], Served], warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = served("ulim")
    monkeypatch.setattr(model.model, "searched", 3)
    found = check(model, warehouse)
    for vectors in found["vectors"].to_pylist():
        assert [each["category_id"] is None for each in vectors] == [True, False, False, False]


def check(model: Served, warehouse: Path) -> pa.Table:
    """The shares of every user of the warehouse against ``score_catalogue``; the vectors that gave them."""
    as_of, rows = latest(str(warehouse)).as_of, last_rows(warehouse)
    users = rows["user_id"].to_pylist()
    items, found = model.item_vectors(), model.user_vectors(rows, as_of=as_of)
    assert items.schema == ITEM_VECTORS and found.schema == USER_VECTORS
    assert sorted(found["user_id"].to_pylist()) == sorted(users)
    ids = items["item_id"].to_pylist()
    assert ids == list(model.vocabulary.ids["items"][2:])
    shares, asked = shares_of(items), by_user(model, rows, users, as_of)
    for user, vectors in zip(found["user_id"].to_pylist(), found["vectors"].to_pylist(), strict=True):
        part, at = asked[user]
        with torch.inference_mode():
            scores = as_model(model.model).score_catalogue(part.rows, part.samples)[at, 2:].double().numpy()
        given = shares(vectors)
        share = np.array([given[item] for item in ids])
        best = np.argsort(-share, kind="stable")
        assert (np.diff(scores[best]) <= 1e-5).all(), "the model's order"
        np.testing.assert_allclose(log_softmax(np.log(share)), log_softmax(scores), rtol=1e-5, atol=1e-5)
        if name_of(model) in ("mos", "mos_fused", "ulim"):
            np.testing.assert_allclose(np.log(share), scores, rtol=1e-5, atol=1e-5)
    return found


def name_of(model: Served) -> str:
    name: str = model.config.model.name
    return name


def test_vectors_are_those_that_the_model_computes(
    served: Callable[[str], Served], warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rows = served("sasrec"), last_rows(warehouse)
    as_of = latest(str(warehouse)).as_of
    table: Any = model.model.item_vectors()  # type: ignore[operator]
    monkeypatch.setattr(embeddings, "ROWS", 7)
    items = model.item_vectors()
    assert items["vector"].num_chunks == -(-(len(table) - 2) // 7)
    assert np.array_equal(np.array(items["vector"].to_pylist(), np.float32), table[2:].detach().numpy())
    asked = by_user(model, rows, rows["user_id"].to_pylist(), as_of)
    for row in model.user_vectors(rows, as_of=as_of).to_pylist():
        part, at = asked[row["user_id"]]
        with torch.inference_mode():
            state = model.model.states(part.rows, part.samples)[at]  # type: ignore[operator]
        (only,) = row["vectors"]
        assert np.array_equal(np.array(only["vector"], np.float32), state.numpy())
        assert (only["weight"], only["category_id"]) == (1.0, None)


def test_items_have_the_sources_ids_and_their_main_category(
    served: Callable[[str], Served], events: pd.DataFrame
) -> None:
    model = served("ulim")
    items = model.item_vectors().to_pandas().set_index("item_id")
    names = model.vocabulary.ids["categories"]
    for at, item in enumerate(model.vocabulary.ids["items"][2:], start=2):
        code = int(model.vocabulary.item_category[at])
        assert items.category_id[item] == names[code] and (names[code] is None) == (code < 2)
    assert set(items.index) <= set(events["item_id"])


def test_absent_experts_have_no_vector(served: Callable[[str], Served], warehouse: Path) -> None:
    model, rows = served("mos"), last_rows(warehouse)
    found = model.user_vectors(rows, as_of=latest(str(warehouse)).as_of).to_pylist()
    weights = {row["user_id"]: [each["weight"] for each in row["vectors"]] for row in found}
    assert all(min(own) > 0 and sum(own) == pytest.approx(1, rel=1e-5) for own in weights.values())
    assert len({len(own) for own in weights.values()}) > 1, "users differ in how many themes they have"


def test_who_has_no_row_has_no_vectors(served: Callable[[str], Served], warehouse: Path) -> None:
    rows, as_of = last_rows(warehouse), latest(str(warehouse)).as_of
    assert served("ulim").user_vectors(rows.slice(0, 0), as_of=as_of).num_rows == 0
    assert served("ulim").user_vectors(rows.slice(1, 2), as_of=as_of).num_rows == 2


@pytest.mark.parametrize("name", ("popularity", "frequency", "din", "mos_click"))
def test_a_model_without_vectors_says_so(served: Callable[[str], Served], warehouse: Path, name: str) -> None:
    model = served(name)
    assert not model.searchable
    for ask in (
        model.item_vectors,
        lambda: model.user_vectors(last_rows(warehouse), as_of=latest(str(warehouse)).as_of),
    ):
        with pytest.raises(
            RequestError, match=f"{name} has no vectors of users and items; ask it by recommend"
        ):
            ask()
    assert f"{name} has no vectors of users and items; name a model" in str(fault_of(model))


def test_code_from_before_the_export_is_told_apart(served: Callable[[str], Served]) -> None:
    assert fault_of(served("sasrec")) is None
    assert "register its run anew" in str(fault_of(SimpleNamespace(recommend_rows=None)))
