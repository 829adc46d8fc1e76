"""Does ULIM's cascade find more than a search over everything, and does PGIN beat frequencies?

Reads what a grid left (python -m training.experiments) and prints two tables as Markdown. First, how often
the target's category is among five: PGIN, against the last, the most frequent and the decayed-frequency
categories, whose half-life is tuned on the targets before the test. Second, how often the target is among N
candidates: the cascade, ULIM's short-term vector alone, a global control of as many parameters, and the
ceiling of a cascade that knows the category; over all targets, and over those whose user has touched the
category before. Differences to the control are of the same targets and seeds, with a 95 % interval
(training.evaluate.statistics). Categories are those of the items, in whose indexes the cascade looks.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.batch import Batch, Rows, Samples
from training.errors import TrainingError
from training.evaluate.queries import pieces
from training.evaluate.report import over_seeds
from training.evaluate.statistics import bootstrap
from training.experiments.bundle import Bundle
from training.fit.build import build
from training.fit.fitted import load_best
from training.fit.load import load_config
from training.fit.run_folder import RunFolder
from training.models.ulim.cascade import Plan
from training.models.ulim.catalogue import CatalogueByCategory
from training.models.ulim.category_baselines import (
    category_hits,
    decayed_categories,
    frequent_categories,
    last_categories,
    tune_half_life,
)
from training.models.ulim.index import ItemIndexes
from training.models.ulim.report import HISTORY, USER, cascade_plans, retrieval_hits

EXAMPLES = """\
examples:
  python benchmarks/ulim.py --out experiments --data resume --seeds 1 2 3 4 5
      runs of experiments/runs/resume/{ulim,ulim_global}/SEED on experiments/data/resume
  python benchmarks/ulim.py --out experiments --data completejourney --seeds 1 --targets 2000
      a quick look
"""
K = 5
HOUR, DAY = 3_600.0, 86_400.0
HALF_LIVES = (HOUR / 6, HOUR, 6 * HOUR, DAY, 3 * DAY, 7 * DAY, 30 * DAY, 90 * DAY)  # seconds
AT_ONCE = 512  # targets
SLICES = ("all targets", "history in the category")
Columns = dict[str, NDArray[np.generic]]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the grid's folder")
    parser.add_argument("--data", required=True, help="name of the data set")
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--model", default="ulim", help="its name in the grid")
    parser.add_argument("--control", default="ulim_global", help="the same of the control")
    parser.add_argument("--targets", type=int, default=sys.maxsize, help="of the test at most")
    asked = parser.parse_args()
    try:
        bundle = Bundle.load(asked.out / "data" / asked.data)
        run(asked, bundle)
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


@torch.no_grad()
def run(asked: argparse.Namespace, bundle: Bundle) -> None:
    item_category = torch.from_numpy(bundle.vocabulary.item_category)
    catalogue = CatalogueByCategory(item_category, bundle.vocabulary.sizes.categories)
    test = list(targets(bundle.test, catalogue, asked.targets))
    count = sum(len(samples.row) for _, samples in test)
    users = len(torch.unique(torch.cat([rows.user_id for rows, _ in test])))
    seeds = ", ".join(map(str, asked.seeds))
    print(f"{asked.data}: {count:,} targets of {users:,} users, seeds {seeds}\n")

    valid = targets(bundle.valid, catalogue, sys.maxsize)
    category_rates = baselines(test, valid, torch.from_numpy(bundle.vocabulary.categories.count))
    own, found = [], []
    for seed in asked.seeds:
        runs = asked.out / "runs" / asked.data
        model, control = (load(runs / name / str(seed), bundle) for name in (asked.model, asked.control))
        own.append(rate([category_hits(model.pgin(*part), part[1].category, K) for part in test]))
        indexes, other = (
            ItemIndexes.of(one.item_vectors().float().numpy(), catalogue) for one in (model, control)
        )
        found.append(retrieval_hits(test, model, indexes, cascade_plans(), (control, other)))
        print(f"seed {seed} done", file=sys.stderr, flush=True)
    print(category_table(own, category_rates))
    print(retrieval_table(found, asked.seeds))


def targets(
    batches: Sequence[Batch], catalogue: CatalogueByCategory, most: int
) -> Iterator[tuple[Rows, Samples]]:
    """The first ``most`` targets in pieces, each with the category of its item."""
    for batch in batches:
        assert batch.samples is not None
        few = batch.samples.map(lambda values, most=most: values[:most])
        most -= len(few.row)
        for rows, samples in pieces(batch.rows, few, 1, AT_ONCE):
            yield rows, replace(samples, category=catalogue.of_targets(samples))


def load(folder: Path, bundle: Bundle) -> Any:
    """The model of a grid's run with its best weights; the vocabulary is the bundle's."""
    files = RunFolder(folder)
    if not files.best.exists():
        raise TrainingError(f"{folder} holds no best.pt; run the grid for this model and seed first")
    config = load_config(files.config)
    model = build(config.model, bundle.vocabulary)
    load_best(files, model, config)
    return model.eval()


def baselines(
    test: list[tuple[Rows, Samples]], valid: Iterator[tuple[Rows, Samples]], popularity: Tensor
) -> dict[str, float]:
    """Category hit rate of each baseline on the test."""
    half_life, _ = tune_half_life(valid, popularity, HALF_LIVES, K)
    ways = {
        "last": lambda *part: last_categories(*part, popularity),
        "most frequent": lambda *part: frequent_categories(*part, popularity),
        f"decayed, half-life {half_life / HOUR:.3g} h": lambda *part: decayed_categories(
            *part, popularity, half_life
        ),
    }
    return {
        name: rate([category_hits(way(*part), part[1].category, K) for part in test])
        for name, way in ways.items()
    }


def rate(hits: list[Tensor]) -> float:
    return float(torch.cat(hits).double().mean())


def category_table(own: list[float], others: dict[str, float]) -> str:
    lines = [f"| next category | hit rate@{K} |", "| --- | --- |", f"| PGIN | {over_seeds(own)} |"]
    return "\n".join(lines + [f"| {name} | {value:.4f} |" for name, value in others.items()]) + "\n"


def retrieval_table(found: list[Columns], seeds: Sequence[int]) -> str:
    """A row for each number of candidates and way to find them."""
    user = np.concatenate([columns[USER] for columns in found]).astype(np.int64)
    seed = np.repeat(np.array(seeds), [len(columns[USER]) for columns in found])
    history = [columns[HISTORY].astype(bool) for columns in found]
    kept = [[np.ones_like(some) for some in history], history]
    lines = [
        "| N | candidates from | " + " | ".join(f"hits, {name} | minus control" for name in SLICES) + " |",
        "| --- |" + " --- |" * 5,
    ]
    for plan, name in ways():
        cells = []
        for some in kept:
            own = [columns[name][keep].astype(float) for columns, keep in zip(found, some, strict=True)]
            cells.append(over_seeds([float(hits.mean()) if len(hits) else float("nan") for hits in own]))
            control = [columns[f"control_{plan.candidates}"] for columns in found]
            other = [hits[keep].astype(float) for hits, keep in zip(control, some, strict=True)]
            chosen, whose = np.concatenate(some), np.concatenate(own) - np.concatenate(other)
            cells.append(difference(whose, seed[chosen], user[chosen]) if "cascade" in name else "")
        lines.append(f"| {plan.candidates} | {label(name)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ways() -> Iterator[tuple[Plan, str]]:
    """Each number of candidates with the ways to find as many."""
    plans = cascade_plans()
    for size in sorted({plan.candidates for plan in plans}):
        own = [plan for plan in plans if plan.candidates == size]
        for plan in own:
            yield plan, f"cascade_{size}_k{plan.categories}_{plan.quota}"
        for name in ("short", "control", "ceiling"):
            yield own[0], f"{name}_{size}"


def label(name: str) -> str:
    """``cascade_50_k5_equal`` -> cascade, k5, equal: the number has a column of its own."""
    first, _, *rest = name.split("_")
    return ", ".join([first, *rest])


def difference(values: NDArray[np.float64], seed: NDArray[np.int64], user: NDArray[np.int64]) -> str:
    if len(np.unique(user)) < 2:
        return "too few users"
    found = bootstrap(values, seed, user)
    return f"{found.estimate:+.4f} ({found.low:+.4f} to {found.high:+.4f})"


if __name__ == "__main__":
    sys.exit(main())
