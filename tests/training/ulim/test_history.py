"""What a sample's history says about categories, against plain loops."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.ulim.cases import CATEGORIES, grouped, random_rows, rows_of
from training.batch import all_targets, gap_code
from training.groups import histories
from training.layers.gather import distinct_categories, recent_places
from training.models.ulim.history import ages, ranks_in_category, ranks_of_places

# ts, item, session; categories of items 2, 3, 7 are 4, 5, 4
EXAMPLE = [[(10, 2, 1), (20, 3, 1), (20, 7, 1), (30, 2, 2), (30, 1, 2)]]


def test_example_reads_as_the_definition() -> None:
    rows = rows_of(EXAMPLE)
    samples = all_targets(rows)
    assert rows.category.tolist() == [[4, 5, 4, 4, 1]]
    assert samples.end.tolist() == [0, 1, 1, 3, 3]
    assert distinct_categories(rows, samples, 3).tolist() == [
        [0] * 3,
        [4, 0, 0],
        [4, 0, 0],
        [4, 5, 0],
        [4, 5, 0],
    ]
    assert recent_places(samples.end, 2).tolist() == [[-1, -1], [-1, 0], [-1, 0], [1, 2], [1, 2]]
    rank = ranks_in_category(rows, samples, torch.full((5, 1), 4), 64)
    assert rank[3, 0].tolist() == [2, 0, 1, 0, 0]
    assert ages(rows, samples)[3, 0].tolist() == [1 + int(gap_code(torch.tensor(20))), 4, 4, 0, 0]


@given(st.integers(0, 10_000))
def test_batch_groups_and_device_functions_agree(seed: int) -> None:
    rows = random_rows(seed, users=3)
    batch = grouped(rows)
    assert batch.samples is not None
    assert batch.groups is not None
    samples, groups = batch.samples, batch.groups
    if len(samples.row) == 0:
        return
    assert torch.equal(distinct_categories(rows, samples, 32), groups.pointer_category)
    assert torch.equal(recent_places(samples.end, 100), groups.short_pos.long())
    size = len(samples.row) // len(groups.category)
    loaded = histories(rows, samples, groups.category.repeat_interleave(size).long())
    held = (groups.long_pos, groups.short_pos, groups.pointer_category)
    assert all(torch.equal(*pair) for pair in zip(loaded, held, strict=True))
    rank = ranks_in_category(rows, samples, groups.category.repeat_interleave(size)[:, None], 64)[:, 0]
    by_place = torch.zeros(len(rank), rows.item.shape[1] + 1, dtype=torch.int64)
    pos = torch.where(groups.long_pos >= 0, groups.long_pos, rows.item.shape[1]).long()
    by_place.scatter_(1, pos, ranks_of_places(groups.long_pos))
    assert torch.equal(rank, by_place[:, :-1])


@pytest.mark.parametrize("length", [1, 3])
def test_rank_counts_the_latest_only(length: int) -> None:
    rows = rows_of([[(place, 2, 1) for place in range(6)]])
    samples = all_targets(rows)
    rank = ranks_in_category(rows, samples, torch.full((6, 1), 4), length)[5, 0]
    assert rank.tolist() == [0] * (5 - length) + list(range(length, 0, -1)) + [0]


def test_unknown_categories_are_none() -> None:
    rows = rows_of([[(1, 1, 1), (2, 1, 1), (3, 2, 1)]])
    samples = all_targets(rows)
    assert not ranks_in_category(rows, samples, torch.tensor([[0, 1]] * 3), 64).any()
    assert not distinct_categories(rows, samples, 4).any()


def test_more_pointers_than_places_and_fewer() -> None:
    rows = random_rows(3)
    samples = all_targets(rows)
    wide = distinct_categories(rows, samples, 200)
    assert wide.shape == (len(samples.row), 200)
    assert torch.equal(wide[:, :2], distinct_categories(rows, samples, 2))
    assert int(wide.max()) < CATEGORIES
