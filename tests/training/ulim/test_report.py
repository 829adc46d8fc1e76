"""The comparison of cascade, short vector, control and ceiling, against counting by hand."""

from dataclasses import replace

import numpy as np
import torch

from tests.training.ulim.cases import (
    CATEGORIES,
    ITEM_CATEGORY,
    ITEMS,
    SHAPE,
    SIZES,
    random_rows,
    small_model,
    take,
)
from training.batch import Rows, Samples, all_targets
from training.models.ulim.cascade import Plan
from training.models.ulim.control import GlobalRetrieval
from training.models.ulim.index import ItemIndexes
from training.models.ulim.report import COVERED, HISTORY, USER, cascade_plans, hit_rates, retrieval_hits

PLANS = (Plan(4, 1, "equal"), Plan(12, 3, "equal"), Plan(12, 3))


def halves(rows: Rows) -> list[tuple[Rows, Samples]]:
    samples = all_targets(rows)
    cut = torch.arange(len(samples.row)).chunk(2)
    return [(rows, take(samples, part)) for part in cut]


@torch.no_grad()
def test_hits_equal_a_loop() -> None:
    rows = random_rows(11)
    model = small_model()
    torch.manual_seed(5)
    control = GlobalRetrieval(SIZES, SHAPE).eval()
    vectors = model.item_vectors().numpy()
    indexes = ItemIndexes.of(vectors, model.catalogue)
    other = ItemIndexes.of(control.item_vectors().numpy(), model.catalogue)
    found = retrieval_hits(halves(rows), model, indexes, PLANS, (control, other))

    samples = all_targets(rows)
    category, _ = model.categories(rows, samples, 3)
    own = ITEM_CATEGORY[samples.item.long()]
    interests = model.interests(rows, samples, torch.cat([category, own[:, None]], 1))
    for n, item in enumerate(samples.item.tolist()):
        short = _ranked(vectors, interests.short[n].numpy(), range(2, ITEMS))
        names = category[n].tolist()
        expected = {
            "cascade_4_k1_equal": _cascade(vectors, interests.long[n], short, names[:1], 4),
            "cascade_12_k3_equal": _cascade(vectors, interests.long[n], short, names, 12),
            "short_4": short[:4],
            "short_12": short[:12],
            "ceiling_12": _cascade(vectors, interests.long[n, 3:], short, [int(own[n])], 12),
            "control_4": _ranked(
                control.item_vectors().numpy(), control.states(rows, samples)[n].numpy(), range(2, ITEMS)
            )[:4],
        }
        for name, items in expected.items():
            assert bool(found[name][n]) == (item in items), name
        assert bool(found[COVERED][n]) == (item >= 2)
        assert bool(found[HISTORY][n]) == bool(interests.seen[n, 3])
        assert int(found[USER][n]) == int(rows.user_id[samples.row[n]])


def _ranked(vectors: np.ndarray, query: np.ndarray, items: range | list[int]) -> list[int]:
    return sorted(items, key=lambda item: -float(vectors[item] @ query))


def _cascade(
    vectors: np.ndarray, long: torch.Tensor, short: list[int], names: list[int], size: int
) -> list[int]:
    half, found = size // 2, short[: size - size // 2]
    for k, name in enumerate(names):
        inside = [item for item in range(2, ITEMS) if ITEM_CATEGORY[item] == name >= 2]
        best = _ranked(vectors, long[k].numpy(), inside)[: half // len(names)]
        found = found + [item for item in best if item not in found]
    return (found + [item for item in short if item not in found])[:size]


@torch.no_grad()
def test_no_answer_reaches_the_model() -> None:
    """The cascade retrieves the same whatever the target is; only the hit and the oracle differ."""
    rows = random_rows(12)
    model = small_model()
    indexes = ItemIndexes.of(model.item_vectors().numpy(), model.catalogue)
    samples = all_targets(rows)
    every = []
    for item in range(2, ITEMS):
        code = torch.full_like(samples.item, item)
        asked = replace(samples, item=code, category=ITEM_CATEGORY[code.long()].int())
        every.append(retrieval_hits([(rows, asked)], model, indexes, PLANS)["cascade_12_k3_equal"])
    assert (np.sum(every, axis=0) == 12).all()  # each of twelve distinct candidates is a hit once


@torch.no_grad()
def test_rates_by_slice() -> None:
    columns = {
        "short_4": np.array([True, False, True, False]),
        COVERED: np.array([True, True, True, False]),
        HISTORY: np.array([True, True, False, False]),
        USER: np.arange(4),
    }
    records = {(r["slice"], r["retrieval"]): (r["targets"], r["hit_rate"]) for r in hit_rates(columns)}
    assert records == {
        ("all", "short_4"): (4, 0.5),
        ("history", "short_4"): (2, 0.5),
        ("no_history", "short_4"): (2, 0.5),
        ("all", COVERED): (4, 0.75),
        ("history", COVERED): (2, 1.0),
        ("no_history", COVERED): (2, 0.5),
    }
    empty = hit_rates({"short_4": np.array([True]), HISTORY: np.array([True]), USER: np.array([1])})
    assert [record["targets"] for record in empty] == [1, 1, 0]
    assert np.isnan(float(empty[2]["hit_rate"]))


def test_plans_are_every_combination() -> None:
    plans = cascade_plans()
    assert len(set(plans)) == 18
    assert {plan.candidates for plan in plans} == {50, 500, 1_000}
    assert {plan.categories for plan in plans} == {5, 10, 25}
    assert CATEGORIES < 25  # more categories than there are is no error
    rows = random_rows(1)
    model = small_model()
    indexes = ItemIndexes.of(model.item_vectors().detach().numpy(), model.catalogue)
    found = retrieval_hits(halves(rows), model, indexes, plans)
    trained = all_targets(rows).item.numpy() >= 2
    assert np.array_equal(found["cascade_500_k25_equal"], trained)  # 500 candidates are the catalogue
