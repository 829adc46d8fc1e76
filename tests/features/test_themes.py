"""Running themes against a plain-Python oracle, and whatever must not change them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.themes import nearest_theme, running_themes, session_sums
from features.vectors import GRID, unit
from tests.oracles import themes as oracle

IDS = np.array([2, 5, 9], dtype=np.int32)
CENTROIDS = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])


def test_the_nearest_centroid_by_cosine() -> None:
    examples = [
        ([3.0, 1.0], 2),
        ([1.0, 3.0], 5),
        ([0.001953125, 0.0], 2),  # length does not matter
        ([-5.0, 1.0], 9),
        ([1.0, 1.0], 2),  # a tie: the lowest id
        ([-1.0, 1.0], 5),  # a tie among others
        ([0.0, -1.0], 2),  # at right angles to two, against the third: still the best
        ([0.0, 0.0], 1),  # no vector yet, or vectors that cancel out
    ]
    sums, themes = zip(*examples, strict=True)
    assert nearest_theme(np.array(sums), CENTROIDS, IDS).tolist() == list(themes)


def test_without_themes_there_is_none() -> None:
    assert nearest_theme(np.ones((2, 2)), np.zeros((0, 2)), IDS[:0]).tolist() == [1, 1]


def test_ids_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="ascend"):
        nearest_theme(np.ones((1, 2)), CENTROIDS, IDS[::-1])


def test_a_session_starts_from_nothing_and_events_without_a_vector_keep_its_theme() -> None:
    vectors = np.array([[0, 0], [1, 0], [0, 1]], dtype=np.float32)
    #          session 1   | session 2      | session 3
    rows = np.array([1, 0, 2, 2, 0, 2, 1, 0], dtype=np.int32)
    starts = np.array([0, 4, 7])
    themes = running_themes(vectors, rows, starts, CENTROIDS, IDS)
    assert themes.tolist() == [2, 2, 2, 5, 1, 5, 2, 1]  # 1:1 ties go to 2
    assert session_sums(vectors, rows, starts).tolist() == [[1, 2], [1, 1], [0, 0]]


@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(1, 40))
def test_themes_equal_the_oracle_for_any_slice(seed: int, n: int, slice_events: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-2, 3, size=(6, 3)) * 8192 * GRID  # few values: many ties and zero sums
    vectors[0] = 0
    centroids = rng.integers(-1, 2, size=(4, 3)) * 32768 * GRID
    ids = np.array([2, 3, 7, 8], dtype=np.int32)
    rows = rng.integers(0, 6, n).astype(np.int32)
    starts = np.flatnonzero(np.append(True, rng.random(n - 1) < 0.3))
    found = running_themes(
        vectors.astype(np.float32), rows, starts, centroids, ids, slice_events=slice_events
    )

    whole = [tuple(int(x / GRID) for x in vector) for vector in vectors]
    named = {int(t): tuple(int(x / GRID) for x in c) for t, c in zip(ids, centroids, strict=True)}
    expected: list[int] = []
    for low, high in zip(starts, [*starts[1:], n], strict=True):
        expected += oracle.running([whole[r] if r else None for r in rows[low:high]], named, 3)
    assert found.tolist() == expected


def test_products_in_other_orders_and_batch_sizes_give_the_same_bits() -> None:
    rng = np.random.default_rng(7)
    vectors, centroids = unit(rng.normal(size=(3_000, 32))), unit(rng.normal(size=(24, 32)))
    ids = np.arange(2, 26, dtype=np.int32)
    sums = np.cumsum(vectors, axis=0)
    whole = nearest_theme(sums, centroids, ids)
    for size in (1, 7, 64, 1_000):
        parts = [nearest_theme(sums[i : i + size], centroids, ids) for i in range(0, 3_000, size)]
        assert np.array_equal(np.concatenate(parts), whole)
    shuffled = rng.permutation(32)
    assert np.array_equal(nearest_theme(sums[:, shuffled], centroids[:, shuffled], ids), whole)
    scores = sums @ centroids.T
    assert np.array_equal(scores, sums[:, shuffled] @ centroids[:, shuffled].T)
    assert np.array_equal(scores, np.einsum("nd,kd->nk", sums, centroids))
