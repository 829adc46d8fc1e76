"""Whole next baskets, for data where many events share one (user, ts).

Such events see the same prefix, so a model ranks the catalogue once for all of them. Metrics follow from
the ranks of a basket's items in that one ranking: no further scoring.
"""

import numpy as np
import pandas as pd

from features.codes import FIRST_INDEX

BASKET = ["user", "ts"]
OF_BASKETS = "basket_"
"""How the names of metrics of baskets begin: ``basket_recall_10``."""


def basket_values(frame: pd.DataFrame, k: int = 10) -> pd.DataFrame:
    """One row per basket, indexed by (user, ts): ``items``, ``recall`` and ``ndcg`` at k.

    ``frame`` has user, ts (seconds), item and rank per target. An item bought twice counts once; unknown
    items cannot be told apart and each counts as a miss. Recall@k = hits / items of the basket;
    NDCG@k = DCG over the hits / DCG of as many items, at most k, on top (binary relevance). Clocks finer
    than a second are cut to one.
    """
    known = frame["item"] >= FIRST_INDEX
    once = frame[~(known & frame.duplicated([*BASKET, "item"]))]
    rank = once["rank"].to_numpy()
    hits = rank <= k
    gains = np.where(hits, 1 / np.log2(1 + np.where(hits, rank, 1)), 0.0)
    keys = [once["user"], once["ts"]]
    items = pd.Series(1, index=once.index).groupby(keys).sum()
    ideal = np.cumsum(1 / np.log2(1 + np.arange(1, k + 1)))
    return pd.DataFrame(
        {
            "items": items,
            "recall": pd.Series(hits.astype(float), index=once.index).groupby(keys).sum() / items,
            "ndcg": pd.Series(gains, index=once.index).groupby(keys).sum()
            / ideal[np.minimum(items.to_numpy(), k) - 1],
        }
    )


def basket_metrics(frame: pd.DataFrame, k: int = 10) -> dict[str, float]:
    """Mean recall and NDCG over baskets, their number and mean size."""
    values = basket_values(frame, k)
    return {
        "baskets": float(len(values)),
        "basket_items": float(values["items"].mean()),
        f"basket_recall_{k}": float(values["recall"].mean()),
        f"basket_ndcg_{k}": float(values["ndcg"].mean()),
    }


def has_baskets(frame: pd.DataFrame) -> bool:
    """Whether any two targets share a (user, ts)."""
    return bool(frame.duplicated(BASKET).any())
