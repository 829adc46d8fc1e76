"""What the report knows of each model: results per target, summaries, curves, costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pandas as pd

from features.page.colours import SERIES, colour
from training.evaluate.compare import compare, values_of
from training.evaluate.experiment import MODEL_FACTS
from training.evaluate.report import LABELS
from training.evaluate.run import Summary
from training.evaluate.slices import SLICES
from training.evaluate.statistics import Interval, bootstrap

SHOWN: Final = tuple(name for name in LABELS if name != MODEL_FACTS)
"""Slices, in the order in which people read them."""


@dataclass(frozen=True)
class Entry:
    """A model of the report, under one or several seeds."""

    label: str
    frames: Mapping[int, pd.DataFrame]  # by seed: results per target, as in ``Evaluation``
    tests: Mapping[int, Summary]  # by seed: the figures that the run itself kept
    histories: Mapping[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)  # parameters, seconds, … of one seed
    _spreads: dict[tuple[str, str], Interval | None] = field(default_factory=dict, repr=False, compare=False)

    def figure(self, metric: str, part: str = "all") -> float | None:
        """A figure of the runs' own test files, averaged over seeds; None where they have none."""
        found = [test[part][metric] for test in self.tests.values() if metric in test.get(part, {})]
        return sum(found) / len(found) if found else None

    def spread(self, metric: str, part: str = "all") -> Interval | None:
        """Mean of a per-target metric, 95 % interval over seeds and users; None with fewer than two users."""
        if (metric, part) not in self._spreads:
            self._spreads[metric, part] = self._spread(metric, part)
        return self._spreads[metric, part]

    def _spread(self, metric: str, part: str) -> Interval | None:
        parts = []
        for seed, frame in self.frames.items():
            own = frame[SLICES[part](frame)]
            value = values_of(own, metric)
            parts.append(pd.DataFrame({"value": value, "user": own["user"].to_numpy(), "seed": seed}))
        whole = pd.concat(parts, ignore_index=True).dropna(subset=["value"])
        if whole["user"].nunique() < 2:
            return None
        value, seeds, users = (whole[name].to_numpy() for name in ("value", "seed", "user"))
        return bootstrap(value, seeds, users)


@dataclass(frozen=True)
class Contest:
    """Models on the targets of one data set, and who is held against whom."""

    data: str
    metric: str  # per target: ndcg_10, hr_10, …, or auc
    entries: Sequence[Entry]
    pairs: Sequence[tuple[str, str]]  # model and control, by their labels
    sampled_of: int | None = None  # the test's targets, where only some of them were asked about

    def __getitem__(self, label: str) -> Entry:
        return next(entry for entry in self.entries if entry.label == label)

    @property
    def drawn(self) -> list[Entry]:
        """The models that pictures show, one for each hue: those that are compared first; tables have all."""
        compared = [label for pair in self.pairs for label in pair]
        return sorted(self.entries, key=lambda entry: entry.label not in compared)[: len(SERIES)]

    @property
    def hues(self) -> dict[str, Any]:
        """The encoding of a model's colour, the same in every picture."""
        labels = [entry.label for entry in self.drawn]
        scale = {"domain": labels, "range": [colour(name) for name in SERIES[: len(labels)]]}
        return {"field": "model", "type": "nominal", "title": "Model", "scale": scale}

    @property
    def slices(self) -> list[str]:
        """Slices that hold a target."""
        frame = next(iter(self.entries[0].frames.values()))
        return [name for name in SHOWN if SLICES[name](frame).any()]


@dataclass(frozen=True)
class Difference:
    """A model minus its control on one slice; no interval where they cannot be paired."""

    model: str
    control: str
    part: str
    interval: Interval | None
    why: str = ""

    @property
    def verdict(self) -> str:
        """What the interval establishes: better, worse, undecided or unknown."""
        if self.interval is None:
            return "unknown"
        if self.interval.above_zero:
            return "better"
        return "worse" if self.interval.high < 0 else "undecided"


def differences(contest: Contest, parts: Sequence[str] | None = None) -> list[Difference]:
    """Every pair on every slice, by paired bootstrap over seeds and users."""
    found = []
    for model, control in contest.pairs:
        ours, theirs = contest[model].frames, contest[control].frames
        seeds = sorted(set(ours) & set(theirs))
        one, other = ({seed: paired(frames[seed]) for seed in seeds} for frames in (ours, theirs))
        for part in parts or contest.slices:
            try:
                interval, why = compare(one, other, contest.metric, part), ""
            except ValueError as error:
                interval, why = None, str(error)
            found.append(Difference(model, control, part, interval, why))
    return found


def paired(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with places that do not depend on how long a model's rows are (as ``registry.contest``)."""
    same = ["user", "row", "ts", "item"]
    frame = frame.sort_values(same, kind="stable", ignore_index=True)
    return frame.assign(place=frame.groupby(same).cumcount())


def metric_name(metric: str) -> str:
    """A metric as people write it: ``hr_10`` is HR@10."""
    kind, _, k = metric.rpartition("_")
    if metric == "auc":
        return "AUC of a target among its drawn negatives"
    return f"{kind.replace('_', ' ').upper()}@{k}" if k.isdigit() else metric.replace("_", " ")
