"""Basket metrics from ranks against torchmetrics on the scores themselves."""

import numpy as np
import pandas as pd
import pytest
import torch
from torchmetrics.functional.retrieval import retrieval_normalized_dcg, retrieval_recall

from training.evaluate.baskets import basket_metrics, basket_values, has_baskets
from training.evaluate.ranks import mean_ranks

ITEMS = 60


def frame_of(scores: torch.Tensor, baskets: list[list[int]]) -> pd.DataFrame:
    query = torch.tensor([n for n, basket in enumerate(baskets) for _ in basket])
    item = torch.tensor([code for basket in baskets for code in basket])
    rank = mean_ranks(scores, item, query, torch.arange(ITEMS)[None] >= 2)
    return pd.DataFrame({"user": query // 2, "ts": query % 2 * 100, "item": item, "rank": rank})


def test_recall_and_ndcg_agree_with_torchmetrics():
    random = np.random.default_rng(3)
    baskets = [
        random.choice(np.arange(2, ITEMS), random.integers(1, 25), replace=False).tolist() for _ in range(40)
    ]
    scores = torch.from_numpy(random.permutation(40 * ITEMS).reshape(40, ITEMS)).float()
    values = basket_values(frame_of(scores, baskets)).reset_index(drop=True)
    for n, basket in enumerate(baskets):
        own, there = scores[n, 2:], torch.isin(torch.arange(2, ITEMS), torch.tensor(basket))
        assert values["items"][n] == len(basket)
        assert values["recall"][n] == pytest.approx(retrieval_recall(own, there, top_k=10).item())
        assert values["ndcg"][n] == pytest.approx(
            retrieval_normalized_dcg(own, there, top_k=10).item(), rel=1e-5
        )
    found = basket_metrics(frame_of(scores, baskets))
    assert found["baskets"] == 40
    assert found["basket_recall_10"] == pytest.approx(values["recall"].mean())


def test_an_item_twice_in_a_basket_counts_once_and_unknown_items_each_miss():
    frame = pd.DataFrame(
        {"user": [1] * 5, "ts": [7] * 5, "item": [4, 4, 1, 1, 9], "rank": [1.0, 1.0, np.inf, np.inf, 30.0]}
    )
    values = basket_values(frame)
    assert values["items"].tolist() == [4]
    assert values["recall"].tolist() == [0.25]
    assert has_baskets(frame)
    assert not has_baskets(frame.assign(ts=range(5)))
