"""The evidence of hopping: each figure on an example one can count, then on data of known kind."""

import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.evidence import hopping_evidence
from features.similarity import category_similarity, vector_similarity
from features.vectors import VectorTable, unit
from tests.features.histories import History, block_of, cut, grid_table

ONE = 65536
TABLE = grid_table({2: [ONE, 0], 3: [0, ONE]}, {})


def cosine(left: list[int], right: list[int]) -> float:
    """Cosine of two lists' histograms, 0 and 1 are no categories; NaN where one is empty."""
    a, b = (Counter(c for c in side if c >= 2) for side in (left, right))
    norms = [sum(n * n for n in bag.values()) ** 0.5 for bag in (a, b)]
    return sum(a[c] * b[c] for c in a) / (norms[0] * norms[1]) if all(norms) else float("nan")


BAG = st.lists(st.integers(1, 5), max_size=6)


@given(st.lists(st.tuples(BAG, BAG), min_size=1, max_size=6))
def test_category_similarity_equals_counting(bags: list[tuple[list[int], list[int]]]) -> None:
    n = len(bags)
    flat = [(c, i + side * n) for i, pair in enumerate(bags) for side in (0, 1) for c in pair[side]]
    category = np.array([c for c, _ in flat], dtype=np.int32)
    bag = np.array([b for _, b in flat], dtype=np.int64)
    found = category_similarity(category)(np.arange(len(flat)), bag, n)
    assert found == pytest.approx([cosine(*pair) for pair in bags], nan_ok=True)
    # one axis a category: dense vectors then give the same
    vectors = np.eye(6, dtype=np.float32) * (np.arange(6) >= 2)[:, None]
    dense = vector_similarity(vectors, category)(np.arange(len(flat)), bag, n)
    assert dense == pytest.approx(found, nan_ok=True)


def categories(*sessions: list[int]) -> History:
    return [[(2, category) for category in session] for session in sessions]


def test_shares_of_a_history_one_can_count() -> None:
    history = categories([2, 2], [3], [2, 4, 4], [4], [5, 2, 2], [1])
    shares = hopping_evidence([block_of([history, categories([9])])], TABLE, resamples=10)["shares"]
    assert shares == {
        # boundaries: 2|3 apart, 3|24 apart and back to 2, 24|4 together, 4|52 apart and back; 1 is none
        "adjacent_without_common_category": 0.75,
        "of_those_back_to_a_seen_category": round(2 / 3, 4),
        "of_those_mainly_back": round(1 / 3, 4),  # mostly 4 is new, mostly 2 is not
        "sessions_of_one_event": round(4 / 7, 4),
    }


def test_similarities_of_a_history_one_can_count() -> None:
    users = [categories([2, 3], [3, 2, 3, 2]), categories([2, 2, 2, 2, 2], [3])]
    found = hopping_evidence([block_of(users)], TABLE, resamples=10)["categories"]
    # odd | even: 2|3 -> 0, 33|22 -> 0, 222|22 -> 1
    assert (found["within"]["mean"], found["within"]["pairs"]) == (round(1 / 3, 4), 3)
    assert (found["within_four"]["mean"], found["within_four"]["pairs"]) == (0.5, 2)
    assert (found["adjacent"]["mean"], found["adjacent"]["pairs"]) == (0.5, 2)
    # two sessions a user: any order has the same neighbours
    assert (found["shuffled_order"]["mean"], found["shuffled_order"]["pairs"]) == (0.5, 2)
    assert found["random_users"]["pairs"] == 4
    assert found["matched"] is None  # too few windows to compare with


def test_what_cannot_be_measured_is_none() -> None:
    found = hopping_evidence([block_of([[[(9, 1)]]])], TABLE, resamples=10)
    assert found["shares"]["adjacent_without_common_category"] is None
    for kind in ("categories", "vectors"):
        assert set(found[kind].values()) == {None}
    json.dumps(found, allow_nan=False)


def simulated(seed: int, hops: bool) -> tuple[list[History], VectorTable]:
    """Users with two themes of four; sessions keep to one (hops) or mix both event by event."""
    rng = np.random.default_rng(seed)
    centres = np.eye(4)
    items = unit(np.repeat(centres, 25, axis=0) + 0.2 * rng.normal(size=(100, 4)))
    none = np.zeros((0, 4))
    table = VectorTable.build(np.arange(2, 102, dtype=np.int32), items, np.zeros(0, np.int32), none)
    users = []
    for _ in range(60):
        own = rng.choice(4, 2, replace=False)
        history: History = []
        for _ in range(12):
            size = int(rng.geometric(0.15))
            theme = np.repeat(rng.choice(own), size) if hops else rng.choice(own, size)
            history.append([(int(2 + 25 * t + rng.integers(25)), int(2 + t)) for t in theme])
        users.append(history)
    return users, table


@pytest.mark.parametrize("kind", ["categories", "vectors"])
def test_hopping_shows_where_it_is_and_not_where_it_is_not(kind: str) -> None:
    for hops in (True, False):
        users, table = simulated(1, hops)
        found = hopping_evidence([block_of(users)], table)[kind]
        assert found["random_users"]["high"] < found["shuffled_order"]["low"]  # taste is there in both
        assert found["matched"]["share"] > 0.95
        difference = found["matched"]["difference"]
        if hops:
            assert found["within"]["low"] > found["adjacent"]["high"] + 0.2
            assert difference["low"] > 0.2
            assert found["within"]["low"] > found["redealt_within"]["high"]
        else:
            assert difference["low"] < 0.02
            assert difference["high"] > -0.02
            assert found["within"]["mean"] == pytest.approx(found["redealt_within"]["mean"], abs=0.05)


def test_an_interval_holds_the_mean_and_narrows_with_users() -> None:
    users, table = simulated(2, True)
    many = hopping_evidence([block_of(users)], table)["categories"]["adjacent"]
    few = hopping_evidence([block_of(users[:10])], table)["categories"]["adjacent"]
    assert many["low"] < many["mean"] < many["high"]
    assert many["high"] - many["low"] < few["high"] - few["low"]


@given(st.integers(0, 99), st.lists(st.integers(0, 10_000), max_size=4), st.randoms())
@settings(max_examples=10, deadline=None)
def test_neither_blocks_nor_the_order_of_users_matter(seed: int, places: list[int], shuffle: object) -> None:
    users, table = simulated(seed, True)
    users, names = users[:12], [f"user {k}" for k in range(12)]
    expected = hopping_evidence([block_of(users, names)], table, resamples=50)
    order = list(range(12))
    shuffle.shuffle(order)  # type: ignore[attr-defined]
    block = block_of([users[k] for k in order], [names[k] for k in order])
    assert hopping_evidence(cut(block, places), table, resamples=50) == expected


def test_another_seed_gives_other_random_pairs_but_the_same_facts() -> None:
    users, table = simulated(3, True)
    one, other = (hopping_evidence([block_of(users)], table, seed=seed, resamples=50) for seed in (0, 1))
    assert one["categories"]["random_users"] != other["categories"]["random_users"]
    assert one["categories"]["adjacent"]["mean"] == other["categories"]["adjacent"]["mean"]
    pairs = [cosine([c for _, c in a], [c for _, c in b]) for user in users for a, b in pairwise(user)]
    assert one["categories"]["adjacent"]["mean"] == round(float(np.mean(pairs)), 4)
