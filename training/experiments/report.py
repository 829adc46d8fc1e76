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
    markdown,
    metric_table,
    nulls,
)
from training.evaluate.slices import PRIMARY
from training.experiments.config import Grid

SHOWN: Final = ("all", "first_of_session", PRIMARY, "within_session", "hops_0", "hops_1_4", "hops_5_up")
FIGURES: Final = ("hr_10", "ndcg_10", "mrr_10", "hr_50", "hr_500", "coverage_10")
OF_CANDIDATES: Final = ("auc_", "gauc_", "log_loss_", "normalised_entropy_")
"""Beginnings of the metrics of click models, which go on with the kind of negatives."""


def write_report(grid: Grid, results: Results, out: Path) -> Path:
    """``report.md`` and its plots; only data and comparisons all of whose runs are finished are shown."""
    table = results.table()
    parts = ["# Results\n"]
    for data in table["data"].unique():
        here = table[table["data"] == data]
        slices = [name for name in SHOWN if name in set(here["slice"])]
        plot_slices(table, data, grid.metric, slices, out / f"{data}.png")
        parts += [f"## {data}\n", markdown(metric_table(table, data, grid.metric, slices), grid.metric)]
        parts += [markdown(_figures(table, data), "all targets"), markdown(cost_table(table, data), "model")]
        parts += [f"![{data}]({data}.png)\n"]
    contrasts = find_contrasts(grid, results, table)
    if contrasts:
        plot_contrasts(contrasts, out / "contrasts.png")
        parts += ["## Models against their controls\n", markdown(contrast_table(contrasts))]
        parts += ["![contrasts](contrasts.png)\n"]
    path = out / "report.md"
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def find_contrasts(grid: Grid, results: Results, table: pd.DataFrame) -> list[Contrast]:
    """Gains and nulls as the grid asks for them, where both models have the same finished seeds."""
    seeds = {
        key: set(found) for key, found in table.groupby(["data", "model"])["seed"].unique().to_dict().items()
    }

    def paired(data: str, model: str, control: str) -> bool:
        return seeds.get((data, model), set()) == seeds.get((data, control))

    # A target's own AUC, over its negatives, is what pairs; that of all candidates has no value per target.
    metric = "auc" if grid.metric.startswith(OF_CANDIDATES[:2]) else grid.metric
    found: list[Contrast] = []
    for one in grid.comparisons:
        pair = [(one.model, one.control)]
        for data in one.gain:
            if paired(data, one.model, one.control):
                here = set(table.loc[table["data"] == data, "slice"])
                found += gains(results, data, pair, metric, [name for name in one.slices if name in here])
        for data in one.null:
            here = set(table.loc[table["data"] == data, "slice"])
            if paired(data, one.model, one.control) and one.null_slice in here:
                found += nulls(results, data, pair, metric, one.null_slice)
    return found


def _figures(table: pd.DataFrame, data: str) -> pd.DataFrame:
    """Models by metrics over all targets."""
    known = sorted(table.loc[table["data"] == data, "metric"].unique())
    wanted = [name for name in FIGURES if name in known]
    wanted += [name for name in known if name.startswith(OF_CANDIDATES)]
    parts = [metric_table(table, data, name, ["all"]).set_axis([name], axis=1) for name in wanted]
    return pd.concat(parts, axis=1)
