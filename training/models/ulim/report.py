"""Does the cascade find more targets than a search over everything, at equal numbers of candidates?

Compared, for each number of candidates: the cascade, ULIM's short-term vector alone, a control of as many
parameters, and the ceiling: the cascade if the target's own category were known. Hits are kept target by
target, for paired statistics; targets without history in their category are told apart.
"""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features.codes import FIRST_INDEX
from training.batch import Rows, Samples
from training.evaluate.queries import without_answers
from training.models.ulim.cascade import Plan, Quota, ask, ask_within, candidates, search
from training.models.ulim.control import GlobalRetrieval
from training.models.ulim.index import ItemIndexes
from training.models.ulim.model import Ulim

Bools = NDArray[np.bool_]

SIZES = (50, 500, 1_000)
CATEGORIES = (5, 10, 25)

COVERED, HISTORY, USER = "covered", "history", "user"
"""Columns beside the hits: the target's item is trained; its category has visible events; the user."""


def cascade_plans(
    sizes: Iterable[int] = SIZES,
    categories: Iterable[int] = CATEGORIES,
    quotas: Iterable[Quota] = ("equal", "probability"),
) -> tuple[Plan, ...]:
    """Every combination of numbers of candidates, numbers of categories and ways to share them out."""
    return tuple(Plan(size, count, quota) for quota in quotas for size in sizes for count in categories)


@torch.no_grad()
def retrieval_hits(
    parts: Iterable[tuple[Rows, Samples]],
    model: Ulim,
    indexes: ItemIndexes,
    plans: tuple[Plan, ...],
    control: tuple[GlobalRetrieval, ItemIndexes] | None = None,
) -> dict[str, NDArray[np.generic]]:
    """Columns (N,) over all samples: bool hits of every way to retrieve, and COVERED, HISTORY and USER.

    Hits are named ``cascade_50_k5_equal`` (plan), ``short_50``, ``control_50`` and ``ceiling_50``. A target
    whose item is not trained is a miss for all. ``indexes`` are of the model's item vectors, the control's
    of its own. Models are used as they are: put them into eval mode.
    """
    columns: dict[str, list[NDArray[np.generic]]] = {}
    for rows, samples in parts:
        for name, column in _hits_of_part(rows, samples, model, indexes, plans).items():
            columns.setdefault(name, []).append(column)
        if control is not None:
            depth = max(plan.candidates for plan in plans)
            listed = control[1].search(_floats(control[0].states(rows, samples)), depth)
            for size in sorted({plan.candidates for plan in plans}):
                columns.setdefault(f"control_{size}", []).append(_hits(listed[:, :size], samples.item))
    return {name: np.concatenate(found) for name, found in columns.items()}


def hit_rates(columns: dict[str, NDArray[np.generic]]) -> list[dict[str, str | int | float]]:
    """One record for each way to retrieve and slice: all targets, with and without category history."""
    history = columns[HISTORY].astype(bool)
    slices = {"all": np.ones_like(history), "history": history, "no_history": ~history}
    records: list[dict[str, str | int | float]] = []
    for name, kept in slices.items():
        for way, column in columns.items():
            if way in (HISTORY, USER):
                continue
            rate = float(column[kept].astype(float).mean()) if kept.any() else float("nan")
            records.append({"slice": name, "retrieval": way, "targets": int(kept.sum()), "hit_rate": rate})
    return records


def _hits_of_part(
    rows: Rows, samples: Samples, model: Ulim, indexes: ItemIndexes, plans: tuple[Plan, ...]
) -> dict[str, NDArray[np.generic]]:
    asked = without_answers(samples)
    queries = ask(model, rows, asked, max(plan.categories for plan in plans))
    found = search(queries, indexes, plans)
    columns: dict[str, NDArray[np.generic]] = {}
    for plan in plans:
        name = f"cascade_{plan.candidates}_k{plan.categories}_{plan.quota}"
        columns[name] = _hits(candidates(found, plan), samples.item)

    own = model.catalogue.item_category[samples.item.long()][:, None].long()
    oracle = ask_within(model, rows, asked, own, torch.ones_like(own))
    oracle_plans = tuple(Plan(size, 1) for size in sorted({plan.candidates for plan in plans}))
    best = search(oracle, indexes, oracle_plans)
    for plan in oracle_plans:
        size = plan.candidates
        columns[f"short_{size}"] = _hits(found.everything[:, :size], samples.item)
        columns[f"ceiling_{size}"] = _hits(candidates(best, plan), samples.item)

    columns[COVERED] = (samples.item >= FIRST_INDEX).cpu().numpy()
    columns[HISTORY] = oracle.seen[:, 0]
    columns[USER] = rows.user_id[samples.row].cpu().numpy()
    return columns


def _hits(listed: NDArray[np.int64], item: Tensor) -> Bools:
    wanted = item.cpu().numpy()[:, None]
    hits: Bools = (listed == wanted).any(axis=1) & (wanted[:, 0] >= FIRST_INDEX)
    return hits


def _floats(vectors: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = vectors.float().cpu().numpy()
    return found
