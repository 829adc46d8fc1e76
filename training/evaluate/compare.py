"""Two models' frames of per-target results, paired target by target, and what follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from training.evaluate.baskets import OF_BASKETS, basket_values
from training.evaluate.ranks import measure
from training.evaluate.slices import SLICES
from training.evaluate.statistics import Floats, Interval, Ints, bootstrap

Frames = Mapping[int, pd.DataFrame]
"""Training seed -> frame of per-target results."""

KEY = ["user", "row", "place", "ts", "item"]


def values_of(frame: pd.DataFrame, metric: str) -> Floats:
    """Per-target values (N,) of a rank metric such as ``hr_10``, or of a column such as ``auc``."""
    if metric in frame.columns:
        column: Floats = frame[metric].to_numpy(dtype=np.float64)
        return column
    return measure(frame["rank"].to_numpy(), metric)


def _by_user(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Columns ``user`` and ``value`` of each target or, for ``basket_recall_10`` and such, each basket."""
    if not metric.startswith(OF_BASKETS):
        return pd.DataFrame({"user": frame["user"].to_numpy(), "value": values_of(frame, metric)})
    column, _, k = metric.removeprefix(OF_BASKETS).rpartition("_")
    values = basket_values(frame, int(k))[column]
    return pd.DataFrame({"user": values.index.get_level_values("user"), "value": values.to_numpy()})


@dataclass(frozen=True)
class Differences:
    """Differences of targets or baskets, model minus control, over all shared seeds; all (N,)."""

    difference: Floats
    seed: Ints
    user: Ints


def differences(model: Frames, control: Frames, metric: str, name: str = "all") -> Differences:
    """Pair two models' targets of one slice.

    ValueError where seeds or targets differ: an unpaired difference would hide what was left out. Also
    where the slice is empty.
    """
    if set(model) != set(control):
        raise ValueError(f"seeds differ: {sorted(model)} against {sorted(control)}; run the missing ones")
    parts = []
    for seed in sorted(model):
        ours, theirs = (frame.sort_values(KEY, kind="stable") for frame in (model[seed], control[seed]))
        same = len(ours) == len(theirs) and all(
            (ours[k].to_numpy() == theirs[k].to_numpy()).all() for k in KEY
        )
        if not same:
            raise ValueError(
                f"seed {seed}: the models answered different targets ({len(ours)} and {len(theirs)}); "
                "evaluate both on the same batches"
            )
        mask = SLICES[name](theirs)
        after, before = (_by_user(frame[mask], metric) for frame in (ours, theirs))
        if (after["value"].isna() != before["value"].isna()).any():
            raise ValueError(f"seed {seed}: only one of the models has a {metric} of some targets")
        there = before["value"].notna()  # a target alone in its category has no AUC
        value, user = (before.loc[there, column].to_numpy() for column in ("value", "user"))
        parts.append((after.loc[there, "value"].to_numpy() - value, seed, user))
    change, user = (np.concatenate([part[n] for part in parts]) for n in (0, 2))
    if len(change) == 0:
        raise ValueError(f"slice {name} holds no target")
    seeds = np.repeat([part[1] for part in parts], [len(part[0]) for part in parts])
    return Differences(change, seeds, user)


def compare(
    model: Frames, control: Frames, metric: str, name: str = "all", *, level: float = 0.95
) -> Interval:
    """Interval of model minus control on a slice; the claim "better" needs ``above_zero`` at 95 %."""
    paired = differences(model, control, metric, name)
    return bootstrap(paired.difference, paired.seed, paired.user, level=level)


EQUIVALENT: Final = 0.01
"""Margin of equivalence, absolute: one point of a rate (our choice). A share of the control's own rate would
be no margin at all where that finds next to nothing, as after returns that bring nothing back."""


@dataclass(frozen=True)
class Equivalence:
    """Whether two models are shown to differ by no more than a margin."""

    interval: Interval
    margin: float
    holds: bool


def equivalence(
    model: Frames, control: Frames, metric: str, name: str = "all", *, margin: float = EQUIVALENT
) -> Equivalence:
    """Two one-sided tests at 5 %: the 90 % interval lies in ± ``margin``."""
    paired = differences(model, control, metric, name)
    interval = bootstrap(paired.difference, paired.seed, paired.user, level=0.90)
    return Equivalence(interval, margin, interval.within(margin))
