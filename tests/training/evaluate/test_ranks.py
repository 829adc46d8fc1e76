"""Ranks and rank metrics against the definition, torchmetrics and a brute-force search."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.retrieval import (
    retrieval_hit_rate,
    retrieval_normalized_dcg,
    retrieval_reciprocal_rank,
)

from tests.training.evaluate.data import batches, histories, source
from training.evaluate import ranks
from training.evaluate.ranks import Catalogue, Coverage, first_seen, mean_ranks, measure, rank_metrics

ties = st.integers(0, 3).map(float)
scored = st.integers(3, 9).flatmap(
    lambda items: st.tuples(
        st.lists(st.lists(ties, min_size=items, max_size=items), min_size=1, max_size=4),
        st.lists(st.booleans(), min_size=items, max_size=items),
        st.data(),
    )
)


@given(scored, st.sampled_from([1, 20, 1 << 20]))
def test_a_rank_is_the_mean_place_over_all_orders_of_the_ties(case, at_once):
    scores, kept, data = case
    items = len(kept)
    kept = [code >= 2 and flag for code, flag in enumerate(kept)]
    kept[data.draw(st.integers(2, items - 1))] = True
    pool = [code for code in range(items) if kept[code]]
    query = data.draw(st.lists(st.integers(0, len(scores) - 1), min_size=1, max_size=6))
    item = [data.draw(st.sampled_from(pool)) for _ in query]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "COMPARED_AT_ONCE", at_once)
        found = mean_ranks(
            torch.tensor(scores), torch.tensor(item), torch.tensor(query), torch.tensor(kept)[None]
        )
    for target, asked, rank in zip(item, query, found.tolist(), strict=True):
        own = scores[asked][target]
        best = 1 + sum(scores[asked][code] > own for code in pool)
        worst = best + sum(scores[asked][code] == own for code in pool) - 1
        assert rank == (best + worst) / 2


def test_candidates_may_differ_between_questions():
    scores = torch.tensor([[0.0, 0.0, 3.0, 2.0, 1.0]] * 2)
    candidates = torch.tensor([[0, 0, 1, 1, 1], [0, 0, 0, 0, 1]], dtype=torch.bool)
    found = mean_ranks(scores, torch.tensor([4, 4]), torch.tensor([0, 1]), candidates)
    assert found.tolist() == [3.0, 1.0]


def test_a_score_that_is_not_a_number_is_an_error():
    with pytest.raises(ValueError, match="1 of 3 scores are not a number"):
        mean_ranks(
            torch.tensor([[0.0, 0.0, torch.nan]]),
            torch.tensor([2]),
            torch.tensor([0]),
            torch.ones(1, 3).bool(),
        )


def test_metrics_agree_with_torchmetrics():
    random = torch.Generator().manual_seed(1)
    scores = torch.rand(60, 40, generator=random)
    item = torch.randint(0, 40, (60,), generator=random)
    rank = mean_ranks(scores, item, torch.arange(60), torch.ones(1, 40, dtype=torch.bool)).numpy()
    theirs = {"hr": retrieval_hit_rate, "ndcg": retrieval_normalized_dcg, "mrr": retrieval_reciprocal_rank}
    found = rank_metrics(rank, (3, 10))
    for k in (3, 10):
        for name, metric in theirs.items():
            values = [metric(scores[n], torch.arange(40) == item[n], top_k=k).item() for n in range(60)]
            np.testing.assert_allclose(measure(rank, f"{name}_{k}"), values, rtol=1e-6)
            assert found[f"{name}_{k}"] == pytest.approx(np.mean(values), rel=1e-6)


def test_an_infinite_rank_is_a_miss_in_every_metric():
    assert set(rank_metrics(np.array([np.inf, np.inf])).values()) == {0.0}
    with pytest.raises(ValueError, match="'recall_5' is unknown"):
        measure(np.ones(1), "recall_5")


def test_a_model_that_ranks_all_alike_hits_only_where_the_middle_of_the_catalogue_is_near():
    rank = mean_ranks(torch.zeros(1, 102), torch.tensor([2]), torch.tensor([0]), torch.arange(102)[None] >= 2)
    assert rank.item() == 50.5
    assert rank_metrics(rank.numpy())["hr_50"] == 0


def test_the_catalogue_holds_what_was_seen_before():
    seen = torch.tensor([0, 0, 5, 9])
    catalogue = Catalogue(4, seen)
    at = torch.tensor([5, 6, 10])
    assert catalogue.at(at).tolist() == [[False] * 4, [False, False, True, False], [False, False, True, True]]
    item = torch.tensor([2, 2, 3, 1, 4, 3])
    when = torch.tensor([5, 6, 9, 10, 10, 10])
    assert catalogue.holds(item, when).tolist() == [False, True, False, False, False, True]
    assert Catalogue(4).holds(item, when).tolist() == [True, True, True, False, False, True]
    with pytest.raises(ValueError, match="4 codes"):
        Catalogue(4, seen[:3])


def test_first_seen_is_the_earliest_event_of_each_item():
    users = histories(4)
    found = source(users)
    times: dict[int, int] = {}
    for events in users.values():
        for event in events:
            if len({other.ts for other in events}) > 1:  # a user without a target has no row
                times[event.item] = min(times.get(event.item, event.ts // 1_000_000), event.ts // 1_000_000)
    index = found.vocabulary.items.index
    seen = first_seen(batches(found), found.vocabulary.items.size)
    assert {int(index[code]): int(seen[code]) for code in range(2, len(index))} == times
    assert (seen[:2] == torch.iinfo(torch.int64).max).all()


def test_coverage_counts_the_items_in_any_top_list():
    random = torch.Generator().manual_seed(2)
    coverage = Coverage(30, "cpu", (2, 5, 100))
    candidates = torch.arange(30)[None] >= 2
    candidates = candidates.repeat(8, 1)
    candidates[:, 20:] = False
    shown: dict[int, set[int]] = {2: set(), 5: set(), 100: set()}
    for _ in range(3):
        scores = torch.randperm(8 * 30, generator=random).view(8, 30).float()
        coverage.add(scores, candidates)
        for row in scores:
            order = sorted(range(2, 20), key=lambda code, row=row: -row[code])
            for k, items in shown.items():
                items.update(order[:k])
    assert coverage.shares() == pytest.approx({k: len(items) / 28 for k, items in shown.items()})
