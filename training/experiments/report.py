"""What a grid shows: a page of tables with its plots, from the results that are there."""

from pathlib import Path
from typing import Final

import pandas as pd

from training.evaluate.experiment import Results
from training.evaluate.plots import plot_contrasts, plot_slices
from training.evaluate.report import (
    Contrast,
    contrast_table,
    cost_table,
    gains,
    label,
    markdown,
    metric_table,
    nulls,
)
from training.evaluate.slices import PRIMARY
from training.experiments.config import Grid

SHOWN: Final = ("all", "first_of_session", PRIMARY, "within_session", "hops_0", "hops_1_4", "hops_5_up")
FIGURES: Final = (
    *("hr_10", "ndcg_10", "mrr_10", "hr_50", "hr_500", "coverage_ceiling", "coverage_10"),
    *("basket_recall_10", "basket_ndcg_10"),
)
OF_CANDIDATES: Final = ("auc_", "gauc_", "log_loss_", "normalised_entropy_")
"""Beginnings of the metrics of click models, which go on with the kind of negatives."""


def write_report(grid: Grid, results: Results, out: Path) -> Path:
    """``report.md`` and its plots of the results that are there.

    A comparison is shown where both models have the same finished seeds, and says how many those are.
    """
    table = results.table()
    parts = ["# Results\n", *_of_several_commits(table)]
    for data in table["data"].unique():
        here = table[table["data"] == data]
        slices = [name for name in SHOWN if name in set(here["slice"])]
        plot_slices(table, data, grid.metric, slices, out / f"{data}.png")
        parts += [f"## {data}\n", markdown(metric_table(table, data, grid.metric, slices), grid.metric)]
        parts += [markdown(_figures(table, data), "all targets"), markdown(cost_table(table, data), "model")]
        parts += [f"![{data}]({data}.png)\n"]
    contrasts, missing = find_contrasts(grid, results, table)
    if contrasts or missing:
        parts += ["## Models against their controls\n"]
    if contrasts:
        parts += [markdown(contrast_table(contrasts, of_seeds=len(grid.seeds)))]
    for metric in dict.fromkeys(contrast.metric for contrast in contrasts):
        name = f"contrasts_{metric}"
        plot_contrasts([contrast for contrast in contrasts if contrast.metric == metric], out / f"{name}.png")
        parts += [f"![{name}]({name}.png)\n"]
    parts += [f"- {line}\n" for line in missing]
    path = out / "report.md"
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def find_contrasts(grid: Grid, results: Results, table: pd.DataFrame) -> tuple[list[Contrast], list[str]]:
    """Gains and nulls as the grid asks for them, and a line for each that can't be had."""
    seeds = {
        key: set(found) for key, found in table.groupby(["data", "model"])["seed"].unique().to_dict().items()
    }

    found: list[Contrast] = []
    missing: list[str] = []
    for one in grid.comparisons:
        pair, metric = [(one.model, one.control)], _per_target(one.metric or grid.metric)
        wanted = [(data, name, False) for data in one.gain for name in one.slices]
        wanted += [(data, one.null_slice, True) for data in one.null]
        for data, name, null in wanted:
            what = f"{one.model} against {one.control} on {data}, {label(name)}"
            if not seeds.get((data, one.model)) or seeds.get((data, one.model)) != seeds.get(
                (data, one.control)
            ):
                missing.append(f"{what}: not both finished under the same seeds")
            elif name not in set(table.loc[table["data"] == data, "slice"]):
                missing.append(f"{what}: the test window holds no such target")
            elif null:
                found += nulls(results, data, pair, metric, name)
            else:
                found += gains(results, data, pair, metric, [name])
    return found, missing


def _per_target(metric: str) -> str:
    """What pairs by target: a target's own AUC over its negatives instead of that of all candidates."""
    return "auc" if metric.startswith(OF_CANDIDATES[:2]) else metric


def _of_several_commits(table: pd.DataFrame) -> list[str]:
    commits = sorted(set(table["commit"].dropna()))
    return [f"Made by the code of several commits: {', '.join(commits)}.\n"] if len(commits) > 1 else []


def _figures(table: pd.DataFrame, data: str) -> pd.DataFrame:
    """Models by metrics over all targets."""
    known = sorted(table.loc[table["data"] == data, "metric"].unique())
    wanted = [name for name in FIGURES if name in known]
    wanted += [name for name in known if name.startswith(OF_CANDIDATES)]
    parts = [metric_table(table, data, name, ["all"]).set_axis([name], axis=1) for name in wanted]
    return pd.concat(parts, axis=1)
