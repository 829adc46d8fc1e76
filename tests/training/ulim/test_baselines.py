"""The category baselines against counting by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.ulim.cases import CATEGORIES, random_rows, rows_of
from training.batch import all_targets
from training.models.ulim.category_baselines import (
    category_hits,
    decayed_categories,
    frequent_categories,
    last_categories,
    tune_half_life,
)
from training.models.ulim.evidence import FEATURES, HALF_LIVES, category_evidence

POPULARITY = torch.tensor([0, 9, 1, 2, 5, 4, 3])
#             ts  item  session; categories are 4, 5, 4, 3, 5
EXAMPLE = [[(0, 2, 1), (100, 3, 1), (200, 7, 1), (300, 6, 2), (400, 8, 2), (500, 4, 2)]]


def ranking(scores: torch.Tensor) -> list[int]:
    return scores.argsort(dim=1, descending=True)[-1, : CATEGORIES - 2].tolist()


def test_example() -> None:
    rows = rows_of(EXAMPLE)
    samples = all_targets(rows)
    assert rows.category.tolist() == [[4, 5, 4, 3, 5, 6]]
    # categories that were never seen (2 and 6) follow by popularity: 6, then 2
    assert ranking(last_categories(rows, samples, POPULARITY)) == [5, 3, 4, 6, 2]
    assert ranking(frequent_categories(rows, samples, POPULARITY)) == [5, 4, 3, 6, 2]
    assert ranking(decayed_categories(rows, samples, POPULARITY, 10)) == [5, 3, 4, 6, 2]
    assert ranking(decayed_categories(rows, samples, POPULARITY, 1e9)) == [5, 4, 3, 6, 2]
    nothing = last_categories(rows, samples, POPULARITY)[0]
    assert nothing.argsort(descending=True)[:5].tolist() == [4, 5, 6, 3, 2]


@given(st.integers(0, 1_000), st.sampled_from([30.0, 3_600.0, 1e7]))
def test_decayed_counts_equal_a_loop(seed: int, half_life: float) -> None:
    rows = random_rows(seed, users=2, longest=15)
    samples = all_targets(rows)
    found = decayed_categories(rows, samples, POPULARITY, half_life)
    for n in range(len(samples.row)):
        row, now = int(samples.row[n]), int(samples.query_ts[n])
        for name in range(2, CATEGORIES):
            places = [at for at in range(int(samples.end[n])) if rows.category[row, at] == name]
            if places:
                ages = [now - int(rows.ts[row, at]) for at in places]
                exact = math.fsum(2 ** (-(age - min(ages)) / half_life) for age in ages)
                expected = math.log(exact) - min(ages) / half_life * math.log(2)
                assert float(found[n, name]) == pytest.approx(expected, rel=1e-9, abs=1e-9)
            else:
                assert float(found[n, name]) < -1e6


def test_hits_ignore_unknown_categories() -> None:
    scores = torch.tensor([[0.0, 9, 1, 2], [0.0, 9, 1, 2], [0.0, 9, 1, 2]])
    assert category_hits(scores, torch.tensor([1, 3, 2]), 2).tolist() == [False, True, False]


def test_half_life_is_chosen_by_hits() -> None:
    """Only the newest category comes next, so the shortest half-life wins."""
    history = [(0, 2, 1), (1, 2, 1), (2, 2, 1), (500, 3, 1), (501, 8, 1)]
    rows = rows_of([history])
    last = all_targets(rows).map(lambda tensor: tensor[-1:])
    assert int(last.category) == 5
    best, rates = tune_half_life([(rows, last)], POPULARITY, (10.0, 1e6), k=1)
    assert best == 10.0
    assert rates == {10.0: 1.0, 1e6: 0.0}
    with pytest.raises(ValueError, match="no targets"):
        tune_half_life([], POPULARITY, (10.0,))


def test_evidence_of_the_example() -> None:
    rows = rows_of(EXAMPLE)
    last = all_targets(rows).map(lambda tensor: tensor[-1:])
    found = category_evidence(rows, last, torch.tensor([[5, 3, 6, 0]]), CATEGORIES)
    assert found.shape == (1, 4, FEATURES)
    assert not found[0, 2:].any()  # not seen, and no category
    hour = math.log(2 ** (-400 / HALF_LIVES[0]) + 2 ** (-100 / HALF_LIVES[0]))
    expected = [0.1 * hour, math.log(2), 0.1 * math.log(101), math.log(2), 1]
    assert found[0, 0, [0, 4, 5, 6, 7]].tolist() == pytest.approx(expected, abs=1e-6)
    assert found[0, 1, [4, 5, 6, 7]].tolist() == pytest.approx(
        [0, 0.1 * math.log(201), math.log(2), 1], abs=1e-6
    )
