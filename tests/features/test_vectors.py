"""Vectors on the grid: rounding, fallback to the category's mean, Arrow and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.vectors import GRID, VectorTable, category_means, quantise, unit
from tests.features.histories import grid_table

ITEMS = {2: [65536, 0], 4: [0, 65536], 7: [-32768, 0]}
CATEGORIES = {2: [0, 32768], 3: [16384, 0]}


def int32(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def test_an_item_has_its_own_vector_else_its_categorys_else_none() -> None:
    table = grid_table(ITEMS, CATEGORIES)
    examples = [
        # item, category, vector, source
        (2, 3, [1.0, 0.0], 1),
        (7, 3, [-0.5, 0.0], 1),
        (3, 3, [0.25, 0.0], 2),  # an item without a vector
        (900, 2, [0.0, 0.5], 2),  # an item named after the fit
        (1, 2, [0.0, 0.5], 2),  # an unknown item
        (3, 1, [0.0, 0.0], 0),  # no category
        (3, 4, [0.0, 0.0], 0),  # a category without a mean
        (3, 900, [0.0, 0.0], 0),
    ]
    item, category, vector, source = zip(*examples, strict=True)
    rows, found = table.lookup(int32(*item), int32(*category))
    assert table.vectors[rows].tolist() == list(vector)
    assert found.tolist() == list(source)


def test_a_zero_vector_counts_as_none() -> None:
    table = grid_table({2: [0, 0], 3: [65536, 0]}, {2: [0, 65536]})
    rows, source = table.lookup(int32(2, 3), int32(2, 2))
    assert (table.vectors[rows].tolist(), source.tolist()) == ([[0, 1], [1, 0]], [2, 1])


def test_a_table_without_categories_or_without_anything_still_looks_up() -> None:
    none = np.zeros((0, 3))
    table = VectorTable.build(int32(), none, int32(), none)
    rows, source = table.lookup(int32(2, 5), int32(1, 2))
    assert (rows.tolist(), source.tolist(), table.dim) == ([0, 0], [0, 0], 3)
    assert VectorTable.from_arrow(table.to_arrow(), 3).rows == 1


def test_category_means_weigh_items_by_their_events_and_skip_the_missing_category() -> None:
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    index, means = category_means(int32(5, 5, 1, 3), np.array([3, 1, 10, 2]), vectors)
    assert index.tolist() == [3, 5]
    assert means.tolist() == [[0.5, 0.5], [0.75, 0.25]]


def test_arrow_and_back_gives_the_same_table_whatever_the_order_of_rows() -> None:
    table = grid_table(ITEMS, CATEGORIES)
    rows = table.to_arrow()
    again = VectorTable.from_arrow(rows.take([4, 1, 0, 3, 2]), 2)
    for name in ("vectors", "item_row", "category_row"):
        assert np.array_equal(getattr(table, name), getattr(again, name))


def test_arrow_with_another_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match="vectors of 3 entries expected"):
        VectorTable.from_arrow(grid_table(ITEMS, CATEGORIES).to_arrow(), 3)


@pytest.mark.parametrize(
    ("vector", "message"),
    [([0.1, 0.0], "multiples"), ([1.0, 1.0], "longer than one"), ([np.nan, 0.0], "multiples")],
)
def test_vectors_off_the_grid_or_too_long_are_refused(vector: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VectorTable.build(int32(2), np.array([vector]), int32(), np.zeros((0, 2)))


def test_an_index_may_have_one_vector_only() -> None:
    with pytest.raises(ValueError, match="occurs twice"):
        VectorTable.build(int32(2, 2), np.array([[1.0], [0.5]]), int32(), np.zeros((0, 1)))


def test_the_codes_for_padding_and_unknown_cannot_have_a_vector() -> None:
    with pytest.raises(ValueError, match="below 2"):
        VectorTable.build(int32(1), np.array([[1.0]]), int32(), np.zeros((0, 1)))


def test_nan_cannot_be_quantised() -> None:
    with pytest.raises(ValueError, match="NaN"):
        quantise([0.0, np.nan])


@given(arrays(np.float64, (4, 3), elements=st.floats(-1e3, 1e3)))
def test_units_lie_on_the_grid_survive_float32_and_are_at_most_one_long(values: np.ndarray) -> None:
    found = unit(values)
    assert (found / GRID == np.rint(found / GRID)).all()
    assert (found.astype(np.float32).astype(np.float64) == found).all()
    length = np.linalg.norm(found, axis=1)
    # below about 1e-290 squares vanish and a row counts as zero
    assert np.allclose(length[np.abs(values).max(axis=1) > 1e-100], 1, atol=1e-4)


@given(st.integers(0, 2**32 - 1))
def test_sums_do_not_depend_on_the_order_of_vectors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, centroid = unit(rng.normal(size=(500, 8))), unit(rng.normal(size=8))
    other = vectors[rng.permutation(500)]
    assert np.cumsum(vectors, axis=0)[-1].tolist() == np.cumsum(other, axis=0)[-1].tolist()
    assert float(vectors.sum(0) @ centroid) == sum(float(row @ centroid) for row in other)
