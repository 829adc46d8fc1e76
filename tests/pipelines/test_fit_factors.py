"""PPMI, factorisation, folding in, shrinkage and the vectors that need no learning."""

import math

import numpy as np
import pytest

from features.vectors import unit
from pipelines.fit.category import category_table
from pipelines.fit.cooccurrence import Pairs
from pipelines.fit.factors import factorise
from pipelines.fit.fold import fold_in, shrink
from pipelines.fit.theme_model import polish


def pairs_of(rows: dict[tuple[int, int], int]) -> Pairs:
    order = sorted(rows)
    left, right = (np.array([pair[side] for pair in order], dtype=np.int32) for side in (0, 1))
    return Pairs(left, right, np.array([rows[pair] for pair in order], dtype=np.int64))


TWO_GROUPS = pairs_of({(0, 1): 8, (0, 2): 7, (1, 2): 9, (3, 4): 6, (3, 5): 8, (4, 5): 7, (2, 3): 1})


def test_ppmi_by_hand():
    factors, _ = factorise(pairs_of({(0, 1): 3, (1, 2): 1}), 3, 2, seed=0)
    weights = np.array([3.0, 4.0, 1.0]) ** 0.75  # row sums of the symmetric matrix, smoothed
    share = weights / weights.sum()
    assert factors.context_share == pytest.approx(share)
    value = factors.ppmi(np.array([1], np.int32), np.array([3]), np.array([3]))
    assert value[0] == pytest.approx(max(0.0, math.log(3 / (3 * share[1]))))


def test_vectors_of_one_group_lie_together():
    _, rows = factorise(TWO_GROUPS, 6, 4, seed=0)
    cosine = unit(rows) @ unit(rows).T
    inside = [cosine[0, 1], cosine[0, 2], cosine[3, 4], cosine[4, 5]]
    across = [cosine[0, 3], cosine[0, 4], cosine[1, 5], cosine[2, 5]]
    assert min(inside) > max(across) + 0.3


def test_folding_a_row_of_the_head_in_gives_its_own_vector():
    factors, rows = factorise(TWO_GROUPS, 6, 4, seed=0)
    context, n = np.array([0, 1, 3], np.int32), np.array([7, 9, 1])  # the row of token 2
    folded = fold_in(factors, np.array([0]), context, n)
    assert folded[0] == pytest.approx(rows[2])


def test_factors_repeat_bit_for_bit():
    first, second = (factorise(TWO_GROUPS, 6, 4, seed=3)[1] for _ in range(2))
    assert (first == second).all()


@pytest.mark.parametrize("contexts", [1, 3])
def test_without_pairs_there_are_no_vectors(contexts):
    factors, rows = factorise(pairs_of({}), contexts, 4, seed=0)
    assert rows.shape == (contexts, 4)
    assert not rows.any()
    assert not factors.projection.any()


def test_fewer_contexts_than_dimensions_leave_zeros():
    _, rows = factorise(pairs_of({(0, 1): 2}), 2, 5, seed=0)
    assert rows.shape == (2, 5)
    assert not rows[:, 2:].any()


def test_polishing_moves_centroids_to_the_means_of_their_interests():
    interests = unit([[1.0, 0.1], [1.0, 0.3], [0.1, 1.0], [0.3, 1.0]])
    found = polish(unit([[1.0, 0.0], [0.6, 0.8]]), interests)
    assert found == pytest.approx(unit([[0.196, 1.0], [1.0, 0.196]]), abs=0.01)
    assert (polish(found, interests[::-1]) == found).all()
    lonely = unit([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])  # nothing lies near the third: it stays
    assert [-1.0, 0.0] in polish(lonely, interests).tolist()


def test_shrinkage_weighs_by_events():
    own = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    prior = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    mixed = shrink(own, np.array([3, 9, 5, 2]), prior, strength=3.0)
    # 1 as many events as the prior's; 2 three times as many; 3 no vector of its own; 4 no category
    assert mixed.tolist() == [[0.5, 0.5], [0.75, 0.25], [0.0, 1.0], [1.0, 0.0]]


def test_few_categories_are_one_hot():
    table = category_table(np.array([1, 5, 3], dtype=np.int32))
    rows, source = table.lookup(np.array([2, 2, 2], np.int32), np.array([3, 5, 9], np.int32))
    assert table.vectors[rows].tolist() == [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    assert source.tolist() == [2, 2, 0]


def test_many_categories_keep_the_cosines_of_histograms():
    table = category_table(np.arange(2, 1002, dtype=np.int32))
    assert table.dim == 256
    rng = np.random.default_rng(0)
    histograms = rng.multinomial(20, np.full(1000, 0.001), size=200).astype(float)
    histograms[100:] += histograms[:100]  # pairs that share half of their events
    true = np.einsum("ij,ij->i", unit(histograms[:100]), unit(histograms[100:]))
    signs = unit(histograms @ table.vectors[1:])
    met = np.einsum("ij,ij->i", signs[:100], signs[100:])
    assert np.sqrt(((met - true) ** 2).mean()) < 1 / 16


def test_signs_depend_on_the_index_alone():
    small = category_table(np.arange(2, 302, dtype=np.int32))
    large = category_table(np.arange(2, 402, dtype=np.int32))
    assert (small.vectors[1:301] == large.vectors[1:301]).all()
