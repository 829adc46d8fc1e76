"""Cascaded retrieval: categories first, then items within each, beside a search over everything.

Source: PAPERS.md, ULIM, pointer-enhanced cascaded retrieval [D]. How many candidates each search gives,
and what fills up after duplicates, is our choice: half come from the short-term vector over everything,
half from the K most probable categories.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from features.codes import FIRST_INDEX, PADDING
from training.batch import Rows, Samples
from training.models.ulim.index import ItemIndexes
from training.models.ulim.model import Ulim

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Quota = Literal["equal", "probability"]


@dataclass(frozen=True)
class Plan:
    """``candidates`` items, half of them from ``categories`` categories.

    ``quota`` shares that half out by the categories' probabilities, or equally. Equal shares waste most of
    a small half on categories that do not come (benchmarks/ulim.py compares the two).
    """

    candidates: int
    categories: int
    quota: Quota = "probability"

    def __post_init__(self) -> None:
        if self.candidates < 2 or self.categories < 1:
            raise ValueError(f"a plan needs 2 candidates and 1 category at least, not {self}")

    @property
    def half(self) -> int:
        """Candidates that come from categories."""
        return self.candidates // 2


@dataclass(frozen=True)
class Queries:
    """What N users are searched for by."""

    short: Floats  # (N, d)
    long: Floats  # (N, K, d)
    seen: NDArray[np.bool_]  # (N, K): the user has events of the category; else long is short
    category: Ints  # (N, K), most probable first
    probability: NDArray[np.float64]  # (N, K)


@dataclass(frozen=True)
class Found:
    """Search results, deep enough for every plan that is to be cut from them; 0 where there are fewer."""

    everything: Ints  # (N, depth) items, best first
    within: Ints  # (N, K, depth) items of each category, best first
    category: Ints  # (N, K)
    probability: NDArray[np.float64]  # (N, K)


def ask(model: Ulim, rows: Rows, samples: Samples, categories: int) -> Queries:
    """A model's vectors and most probable categories for N users, as arrays on the host."""
    category, log_prob = model.categories(rows, samples, categories)
    return ask_within(model, rows, samples, category, log_prob.double().exp())


def ask_within(model: Ulim, rows: Rows, samples: Samples, category: Tensor, probability: Tensor) -> Queries:
    """The same for given categories (N, K), best first, and their probabilities (N, K)."""
    found = model.interests(rows, samples, category)
    return Queries(
        short=found.short.float().cpu().numpy(),
        long=found.long.float().cpu().numpy(),
        seen=found.seen.cpu().numpy(),
        category=category.cpu().numpy(),
        probability=probability.double().cpu().numpy(),
    )


def search(queries: Queries, indexes: ItemIndexes, plans: tuple[Plan, ...]) -> Found:
    """One search over everything and one in each category, for all of the plans."""
    categories = min(max(plan.categories for plan in plans), queries.category.shape[1])
    everything = indexes.search(queries.short, max(plan.candidates for plan in plans))
    category = queries.category[:, :categories]
    depth = max(_deepest(plan, category) for plan in plans)
    long = queries.long[:, :categories].reshape(-1, queries.long.shape[2])
    within = indexes.search_in(category.ravel(), long, depth)
    within = within.reshape(*category.shape, depth)
    return Found(everything, within, category, queries.probability[:, :categories])


def candidates(found: Found, plan: Plan) -> Ints:
    """(N, plan.candidates) distinct items, 0 at the end where the catalogue holds fewer.

    First the short half in its order, then the categories in theirs; what duplicates and small categories
    leave open goes to the next items of the search over everything.
    """
    width = min(plan.categories, found.within.shape[1])
    shares = quotas(found.probability[:, :width], found.category[:, :width], plan)  # (N, K)
    within = found.within[:, :width]
    taken = np.where(np.arange(within.shape[2]) < shares[:, :, None], within, PADDING)
    direct = plan.candidates - plan.half
    offered = np.concatenate(
        [
            found.everything[:, :direct],
            taken.reshape(len(taken), -1),
            found.everything[:, direct : plan.candidates],
        ],
        axis=1,
    )
    return first_distinct(offered, plan.candidates)


def quotas(probability: NDArray[np.float64], category: Ints, plan: Plan) -> Ints:
    """(N, K) how many items each category gives; rows sum to ``plan.half``, or to 0 where none is known.

    Equal shares, or shares by ``probability`` (N, K) rounded by largest remainders; what doesn't divide
    goes to the more probable categories first. Codes of ``category`` (N, K) that name none have no index
    to search and get nothing.
    """
    known = category >= FIRST_INDEX
    weight = np.where(known, 1.0 if plan.quota == "equal" else probability, 0.0)
    total = weight.sum(axis=1, keepdims=True)
    exact = plan.half * np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    shares = np.floor(exact + 1e-9).astype(np.int64)
    left = np.where(total > 0, plan.half - shares.sum(axis=1, keepdims=True), 0)
    rest = np.where(known, (exact - shares).round(9), -np.inf)
    order = np.argsort(-rest, axis=1, kind="stable")
    more: Ints = np.zeros_like(shares)
    np.put_along_axis(more, order, np.arange(shares.shape[1]) < left, 1)
    given: Ints = shares + more
    return given


def first_distinct(items: Ints, count: int) -> Ints:
    """(N, count) the first distinct items above 0 of each row of ``items`` (N, W), in order, 0 at the end.

    >>> first_distinct(np.array([[3, 0, 3, 5, 4], [1, 1, 0, 0, 0]]), 3).tolist()
    [[3, 5, 4], [1, 0, 0]]
    """
    order = np.argsort(items, axis=1, kind="stable")
    ranked = np.take_along_axis(items, order, 1)
    fresh = ranked != PADDING
    fresh[:, 1:] &= ranked[:, 1:] != ranked[:, :-1]
    kept = np.zeros_like(fresh)
    np.put_along_axis(kept, order, fresh, 1)
    place = np.cumsum(kept, axis=1) - 1
    kept &= place < count
    row, column = np.nonzero(kept)
    found = np.full((len(items), count), PADDING, np.int64)
    found[row, place[row, column]] = items[row, column]
    return found


def _deepest(plan: Plan, category: Ints) -> int:
    """The most items that a plan can ask of one category of ``category`` (N, K)."""
    if plan.quota == "probability":
        return plan.half
    known = (category[:, : plan.categories] >= FIRST_INDEX).sum(axis=1)
    fewest = int(known.min(where=known > 0, initial=plan.categories))
    return -(-plan.half // max(fewest, 1))
