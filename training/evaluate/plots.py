"""Plots of a grid: models by slices with their spread over seeds, and differences to controls."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from training.evaluate.report import Contrast, label, spread

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#5D3A9B")
"""Okabe and Ito's palette and a violet, for readers who tell fewer colours apart; markers differ too."""

MARKERS: Final = ("o", "s", "D", "^", "v", "P", "X", "*")
INK, FAINT = "#333333", "#DDDDDD"
DPI: Final = 150


def plot_slices(
    table: pd.DataFrame,
    data: str,
    metric: str,
    slices: Sequence[str],
    path: Path,
    *,
    title: str | None = None,
) -> None:
    """A dot per model and slice at the mean over seeds, a bar of ± one std; written as PNG.

    ``table`` is ``Results.table()``; slices run from top to bottom in the order given.
    """
    found = spread(table, data, metric, slices)
    models = list(found.index.get_level_values("model").unique())
    present = [name for name in slices if name in found.index.get_level_values("slice")]
    # 0.14 inches a dot keeps neighbours apart, whatever their number.
    figure = Figure(figsize=(8, 1.3 + len(present) * (0.2 + 0.14 * len(models))), layout="constrained")
    axes = figure.subplots()
    offsets = np.linspace(-0.36, 0.36, len(models)) if len(models) > 1 else np.zeros(1)
    for number, model in enumerate(models):
        own = found.loc[model].reindex(present)
        colour, marker = look(number)
        axes.errorbar(
            own["mean"],
            np.arange(len(present)) + offsets[number],
            xerr=own["std"].fillna(0),
            fmt=marker,
            color=colour,
            markersize=6,
            elinewidth=1.5,
            capsize=2.5,
            linestyle="none",
            label=model,
        )
    axes.set_yticks(np.arange(len(present)), [label(name) for name in present])
    axes.set_ylim(len(present) - 0.5, -0.5)
    axes.set_xlim(left=0)
    for edge in np.arange(len(present) - 1) + 0.5:
        axes.axhline(edge, color=FAINT, linewidth=0.8)
    seeds = found["seeds"]
    axes.set_xlabel(f"{_name(metric)}, mean ± std over {_range(int(seeds.min()), int(seeds.max()))}")
    axes.set_title(title or f"{_name(metric)} on {data}", loc="left", color=INK)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    _finish(axes)
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=DPI)


def plot_contrasts(contrasts: Sequence[Contrast], path: Path, *, title: str | None = None) -> None:
    """Differences to controls with their intervals, top to bottom; hollow where nothing is established.

    A grey band is the margin of equivalence. Written as PNG. ValueError where metrics differ: they share an
    axis.
    """
    metrics = sorted({contrast.metric for contrast in contrasts})
    if len(metrics) != 1:
        raise ValueError(f"contrasts of {', '.join(metrics)} cannot share an axis; plot each for itself")
    figure = Figure(figsize=(9, 1.5 + 0.36 * len(contrasts)), layout="constrained")
    axes = figure.subplots()
    models = list(dict.fromkeys(contrast.model for contrast in contrasts))
    for place, contrast in enumerate(contrasts):
        colour, marker = look(models.index(contrast.model))
        found = contrast.interval
        settled = contrast.verdict in ("better", "worse", "equivalent")
        if contrast.margin is not None:
            axes.barh(place, 2 * contrast.margin, 0.8, -contrast.margin, color=FAINT, zorder=0)
        axes.plot([found.low, found.high], [place, place], color=colour, linewidth=2)
        axes.plot(
            found.estimate,
            place,
            marker,
            color=colour,
            markersize=7,
            markerfacecolor=colour if settled else "white",
        )
    names = [f"{c.data} · {c.model} − {c.control} · {label(c.slice)}" for c in contrasts]
    axes.set_yticks(np.arange(len(contrasts)), names)
    axes.set_ylim(len(contrasts) - 0.5, -0.5)
    axes.axvline(0, color=INK, linewidth=1)
    levels = sorted({contrast.interval.level for contrast in contrasts}, reverse=True)
    shown = " / ".join(f"{level:.0%}" for level in levels)
    axes.set_xlabel(f"difference in {_name(metrics[0])}, {shown} interval over seeds and users")
    axes.set_title(title or "Models against their controls", loc="left", color=INK)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    _finish(axes)
    figure.savefig(path, dpi=DPI)


def look(number: int) -> tuple[str, str]:
    """Colour and marker of the model of that number; 64 differ.

    >>> look(0), look(8)
    (('#0072B2', 'o'), ('#0072B2', 's'))
    """
    return COLOURS[number % len(COLOURS)], MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]


def _finish(axes: Any) -> None:
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _name(metric: str) -> str:
    """A metric as people write it: ``hr_10`` is HR@10."""
    kind, _, k = metric.rpartition("_")
    return f"{kind.replace('_', ' ').upper()}@{k}" if k.isdigit() else metric.replace("_", " ")


def _range(low: int, high: int) -> str:
    if low == high:
        return f"{low} seed" + "s" * (low != 1)
    return f"{low} to {high} seeds"
