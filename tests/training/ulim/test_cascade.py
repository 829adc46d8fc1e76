"""The indexes and the cascade, against brute force."""

from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.ulim.cases import CATEGORIES, ITEM_CATEGORY, ITEMS
from training.models.ulim.cascade import (
    Plan,
    Queries,
    candidates,
    first_distinct,
    quotas,
    search,
)
from training.models.ulim.catalogue import CatalogueByCategory
from training.models.ulim.index import ItemIndexes

DIM, USERS = 8, 5
CATEGORY = ITEM_CATEGORY.numpy()


def indexes(seed: int = 0) -> tuple[np.ndarray, ItemIndexes]:
    vectors = np.random.default_rng(seed).normal(size=(ITEMS, DIM)).astype(np.float32)
    return vectors, ItemIndexes.of(vectors, CatalogueByCategory(ITEM_CATEGORY, CATEGORIES))


def queries(seed: int, categories: int) -> Queries:
    rng = np.random.default_rng(seed)
    names = np.stack([rng.permutation(np.arange(2, CATEGORIES))[:categories] for _ in range(USERS)])
    chance = -np.sort(-rng.dirichlet(np.ones(categories), USERS), axis=1)
    return Queries(
        rng.normal(size=(USERS, DIM)).astype(np.float32),
        rng.normal(size=(USERS, categories, DIM)).astype(np.float32),
        np.ones(names.shape, bool),
        names,
        chance,
    )


def ranked(vectors: np.ndarray, query: np.ndarray, allowed: np.ndarray) -> list[int]:
    """Allowed items by their product with the query, best first."""
    items = np.flatnonzero(allowed)
    return items[np.argsort(-(vectors[items] @ query), kind="stable")].tolist()


def by_brute_force(vectors: np.ndarray, asked: Queries, user: int, plan: Plan) -> list[int]:
    known = np.arange(ITEMS) >= 2
    everything = ranked(vectors, asked.short[user], known)
    direct = plan.candidates - plan.half
    found = everything[:direct]
    width = min(plan.categories, asked.category.shape[1])
    one = slice(user, user + 1)
    share = quotas(asked.probability[one, :width], asked.category[one, :width], plan)[0]
    for k in range(width):
        within = ranked(vectors, asked.long[user, k], known & (asked.category[user, k] == CATEGORY))
        found += [item for item in within[: share[k]] if item not in found]
    found += [item for item in everything[direct:] if item not in found]
    return (found + [0] * plan.candidates)[: plan.candidates]


@given(
    st.integers(0, 1_000),
    st.integers(2, 60),
    st.integers(1, 7),
    st.sampled_from(["equal", "probability"]),
)
def test_cascade_equals_brute_force(seed: int, size: int, categories: int, quota: str) -> None:
    vectors, built = indexes(seed)
    asked = queries(seed, min(categories, CATEGORIES - 2))
    plan = Plan(size, categories, quota)  # type: ignore[arg-type]
    found = candidates(search(asked, built, (plan,)), plan)
    for user in range(USERS):
        assert found[user].tolist() == by_brute_force(vectors, asked, user, plan)


def test_all_categories_whole_are_the_whole_catalogue() -> None:
    """K = all categories with room for each: every trained item is found, once."""
    _, built = indexes()
    plan = Plan(2 * (CATEGORIES - 2) * ITEMS, CATEGORIES - 2, "equal")
    found = candidates(search(queries(0, CATEGORIES - 2), built, (plan,)), plan)
    assert np.array_equal(np.sort(found[:, : ITEMS - 2], axis=1)[0], np.arange(2, ITEMS))
    assert not found[:, ITEMS - 2 :].any()


def test_one_search_serves_every_plan() -> None:
    _, built = indexes()
    asked = queries(3, 4)
    plans = (Plan(4, 1), Plan(10, 4, "equal"), Plan(20, 2))
    together = search(asked, built, plans)
    for plan in plans:
        alone = candidates(search(asked, built, (plan,)), plan)
        assert np.array_equal(candidates(together, plan), alone)


@given(st.integers(0, 1_000), st.integers(2, 1_000), st.integers(1, 25), st.booleans())
def test_quotas_fill_the_half(seed: int, size: int, categories: int, equal: bool) -> None:
    chance = -np.sort(-np.random.default_rng(seed).dirichlet(np.full(categories, 0.3), 3), axis=1)
    plan = Plan(size, categories, "equal" if equal else "probability")
    shares = quotas(chance, np.full(chance.shape, 2), plan)
    assert (shares.sum(axis=1) == plan.half).all()
    assert (shares >= 0).all()
    weight = np.full_like(chance, 1 / categories) if equal else chance
    assert (np.abs(shares - weight * plan.half) < 1).all()


@pytest.mark.parametrize("quota", ["equal", "probability"])
def test_codes_that_name_no_category_get_no_quota(quota: str) -> None:
    """Their share goes to the categories that can be searched; without any, the short vector fills up."""
    plan = Plan(20, 3, quota)  # type: ignore[arg-type]
    chance, names = np.array([[0.6, 0.3, 0.1]] * 3), np.array([[1, 4, 5], [4, 0, 1], [0, 1, 0]])
    shares = quotas(chance, names, plan)
    assert shares.tolist() == [[0, 5, 5] if quota == "equal" else [0, 8, 2], [10, 0, 0], [0, 0, 0]]

    vectors, built = indexes(4)
    asked = queries(4, 3)
    asked = Queries(asked.short[:3], asked.long[:3], asked.seen[:3], names, chance)
    found = candidates(search(asked, built, (plan,)), plan)
    for user in range(3):
        assert found[user].tolist() == by_brute_force(vectors, asked, user, plan)
    assert (found > 0).all()


@given(
    st.lists(st.lists(st.integers(0, 5), min_size=6, max_size=6), min_size=1, max_size=4), st.integers(1, 8)
)
def test_first_distinct_equals_a_loop(rows: list[list[int]], count: int) -> None:
    found = first_distinct(np.array(rows), count)
    for got, row in zip(found.tolist(), rows, strict=True):
        expected = list(dict.fromkeys(item for item in row if item))[:count]
        assert got == expected + [0] * (count - len(expected))


def test_unknown_and_empty_categories_find_nothing() -> None:
    _, built = indexes()
    asked = np.zeros((3, DIM), np.float32)
    found = built.search_in(np.array([0, 1, 3]), asked, 4)
    assert found[:2].tolist() == [[0] * 4] * 2
    assert (CATEGORY[found[2]] == 3).all()


def test_items_without_a_category_are_found_over_everything_only() -> None:
    category = ITEM_CATEGORY.clone()
    category[[5, 9]] = 1
    built = ItemIndexes.of(np.eye(ITEMS, dtype=np.float32), CatalogueByCategory(category, CATEGORIES))
    assert built.search(np.eye(ITEMS, dtype=np.float32)[[5, 9]], 1).tolist() == [[5], [9]]
    everywhere = built.search_in(np.arange(CATEGORIES), np.zeros((CATEGORIES, ITEMS), np.float32), ITEMS)
    assert sorted(everywhere[everywhere > 0].tolist()) == [i for i in range(2, ITEMS) if i not in (5, 9)]


def test_equal_products_come_in_order_of_code() -> None:
    built = ItemIndexes.of(np.ones((ITEMS, 2), np.float32), CatalogueByCategory(ITEM_CATEGORY, CATEGORIES))
    assert built.search(np.ones((1, 2), np.float32), ITEMS - 2)[0].tolist() == list(range(2, ITEMS))


def test_saved_indexes_find_the_same(tmp_path: Path) -> None:
    _, built = indexes()
    built.save(tmp_path / "indexes")
    loaded = ItemIndexes.load(tmp_path / "indexes")
    asked = queries(1, 3)
    plans = (Plan(20, 3),)
    first, second = search(asked, built, plans), search(asked, loaded, plans)
    assert np.array_equal(first.everything, second.everything)
    assert np.array_equal(first.within, second.within)


def test_other_files_are_refused(tmp_path: Path) -> None:
    _, built = indexes()
    built.save(tmp_path)
    faiss.write_index(faiss.IndexFlatL2(DIM), str(tmp_path / "vectors.faiss"))
    with pytest.raises(ValueError, match="not an IndexFlatIP"):
        ItemIndexes.load(tmp_path)
    built.save(tmp_path)
    np.save(tmp_path / "items.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickle"):
        ItemIndexes.load(tmp_path)


def test_a_plan_needs_room() -> None:
    with pytest.raises(ValueError, match="at least"):
        Plan(1, 5)
