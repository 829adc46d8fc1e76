"""Tables of models by slices: mean ± std over seeds, and intervals of differences to controls."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.errors import DataError
from training.evaluate.compare import compare, equivalence
from training.evaluate.experiment import MODEL_FACTS, Results
from training.evaluate.statistics import Interval

LABELS: Mapping[str, str] = {
    "all": "all targets",
    "first_of_session": "first of session",
    "first_after_return": "first after a return",
    "within_session": "within a session",
    "hopping": "hopping session",
    "not_hopping": "not hopping",
    "history_0_9": "history < 10",
    "history_10_49": "history 10–49",
    "history_50_199": "history 50–199",
    "history_200_up": "history ≥ 200",
    "hops_0": "no hop before",
    "hops_1_4": "1–4 hops before",
    "hops_5_up": "≥ 5 hops before",
    MODEL_FACTS: "model",
}
"""Slices as people read them."""


def label(name: str) -> str:
    """A slice's label; a name without one stands for itself."""
    return LABELS.get(name, name)


def spread(table: pd.DataFrame, data: str, metric: str, slices: Sequence[str]) -> pd.DataFrame:
    """Mean, std (n - 1) and seeds of a metric: index (model, slice), columns ``mean``, ``std``, ``seeds``.

    ``table`` is ``Results.table()``; models come in its order. DataError where it has no such figure.
    """
    chosen = table[(table["data"] == data) & (table["metric"] == metric) & table["slice"].isin(slices)]
    if chosen.empty:
        known = sorted(table.loc[table["data"] == data, "metric"].unique())
        raise DataError(
            f"no {metric} of {', '.join(slices)} on {data}; there are: {', '.join(known) or 'none'}"
        )
    groups = chosen.groupby(["model", "slice"], sort=False)["value"]
    return pd.DataFrame({"mean": groups.mean(), "std": groups.std(), "seeds": groups.count()})


def over_seeds(values: Sequence[float], *, digits: int = 4) -> str:
    """``mean ± std`` (n - 1) of a figure's values over seeds; the mean alone of one.

    >>> over_seeds([0.25, 0.75]), over_seeds([0.25], digits=2)
    ('0.5000 ± 0.3536', '0.25')
    """
    return _with_std(
        float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None, digits
    )


def _with_std(mean: float, std: float | None, digits: int) -> str:
    return f"{mean:.{digits}f}" + ("" if std is None else f" ± {std:.{digits}f}")


def metric_table(
    table: pd.DataFrame, data: str, metric: str, slices: Sequence[str], *, digits: int = 3
) -> pd.DataFrame:
    """Models by slices, each cell ``mean ± std``; without ± where there is one seed, – where no target."""
    found = spread(table, data, metric, slices)
    text = [
        _with_std(mean, std if seeds > 1 else None, digits)
        for mean, std, seeds in zip(found["mean"], found["std"], found["seeds"], strict=True)
    ]
    wide = pd.Series(text, index=found.index).unstack("slice").reindex(columns=list(slices))
    wide = wide.loc[found.index.get_level_values("model").unique()]
    return wide.fillna("–").rename(columns=label)


def cost_table(table: pd.DataFrame, data: str) -> pd.DataFrame:
    """Models by their facts (parameters, FLOPs, samples/s), averaged over seeds."""
    facts = table[(table["data"] == data) & (table["slice"] == MODEL_FACTS)]
    return facts.pivot_table("value", "model", "metric", sort=False).map(lambda value: f"{value:,.4g}")


@dataclass(frozen=True)
class Contrast:
    """A model against its control on one slice of one data set."""

    data: str
    model: str
    control: str
    slice: str
    metric: str
    interval: Interval  # model minus control
    margin: float | None = None  # where equivalence, not gain, is the claim

    @property
    def verdict(self) -> str:
        """What the interval establishes."""
        if self.margin is not None:
            return "equivalent" if self.interval.within(self.margin) else "not shown equivalent"
        if self.interval.above_zero:
            return "better"
        return "worse" if self.interval.high < 0 else "undecided"


def gains(
    results: Results, data: str, pairs: Iterable[tuple[str, str]], metric: str, slices: Iterable[str]
) -> list[Contrast]:
    """Contrasts at 95 % of (model, control) pairs, for claims of a gain."""
    wanted = list(slices)
    found = []
    for model, control in pairs:
        ours, theirs = results.frames(data, model), results.frames(data, control)
        for name in wanted:
            interval = compare(ours, theirs, metric, name)
            found.append(Contrast(data, model, control, name, metric, interval))
    return found


def nulls(
    results: Results,
    data: str,
    pairs: Iterable[tuple[str, str]],
    metric: str,
    name: str,
) -> list[Contrast]:
    """Contrasts at 90 % of pairs that should not differ, each with its margin."""
    found = []
    for model, control in pairs:
        ours, theirs = results.frames(data, model), results.frames(data, control)
        tested = equivalence(ours, theirs, metric, name)
        found.append(Contrast(data, model, control, name, metric, tested.interval, tested.margin))
    return found


def contrast_table(
    contrasts: Sequence[Contrast], *, of_seeds: int | None = None, digits: int = 4
) -> pd.DataFrame:
    """One row per contrast: difference, interval, what it rests on, verdict.

    A verdict on fewer than ``of_seeds`` seeds says so.
    """
    rows = []
    for contrast in contrasts:
        found = contrast.interval
        margin = "" if contrast.margin is None else f", margin ± {contrast.margin:.{digits}f}"
        rows.append(
            {
                "data": contrast.data,
                "model": contrast.model,
                "control": contrast.control,
                "slice": label(contrast.slice),
                "metric": contrast.metric,
                "difference": f"{found.estimate:+.{digits}f}",
                "interval": f"{found.level:.0%} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]{margin}",
                "seeds": found.seeds,
                "users": found.users,
                "targets": found.targets // found.seeds,
                "verdict": contrast.verdict
                + (f" (of {of_seeds} seeds)" if found.seeds < (of_seeds or 0) else ""),
            }
        )
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame, index: str | None = None) -> str:
    """The table in GitHub's markdown; ``index`` heads the index column, None leaves it out."""
    heads = [*([index] if index is not None else []), *map(str, table.columns)]
    lines = [heads, ["---"] * len(heads)]
    for name, values in zip(table.index, table.astype(str).to_numpy().tolist(), strict=True):
        lines.append([*([str(name)] if index is not None else []), *values])
    return (
        "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        + "\n"
    )
