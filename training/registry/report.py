"""A decision as a JSON object, as a Markdown report and as the tags of a version."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from training.evaluate.baskets import OF_BASKETS
from training.evaluate.compare import values_of
from training.evaluate.report import LABELS, label, markdown
from training.evaluate.slices import SLICES
from training.registry.contest import Answers, Window
from training.registry.decision import Duel, Rule, shown

Outcome = Literal["promoted", "first", "not_promoted"]

_WORDS: Final[dict[Outcome, str]] = {
    "promoted": "promoted",
    "first": "promoted as the first champion, without a comparison",
    "not_promoted": "not promoted",
}


@dataclass(frozen=True)
class Decision:
    """What was decided of a challenger, and everything that it rests on."""

    name: str
    version: int
    champion: int | None  # before the decision
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    rule: Rule | None = None  # None, as the rest, without a comparison
    warehouse: str | None = None
    window: Window | None = None
    answers: tuple[Answers, ...] = ()  # the challenger's first
    duels: tuple[Duel, ...] = ()

    @property
    def promotes(self) -> bool:
        """Whether the challenger becomes champion."""
        return self.outcome != "not_promoted"

    @property
    def against(self) -> str:
        """The rivals, by their labels."""
        return ", ".join(one.rival for one in self.duels)


def plain(decision: Decision) -> dict[str, Any]:
    """The whole decision as plain values."""
    found: dict[str, Any] = {
        "name": decision.name,
        "version": decision.version,
        "champion_before": decision.champion,
        "decision": decision.outcome,
        "reasons": list(decision.reasons),
    }
    if decision.rule is None or decision.window is None:
        return found
    window, challenger = decision.window, decision.answers[0]
    return found | {
        "rule": asdict(decision.rule),
        "window": {
            "warehouse": decision.warehouse,
            "publication": window.publication,
            "as_of": window.as_of.isoformat(),
            "table_version": window.table_version,
            "start": window.start,
            "end": window.end,
            "targets": len(challenger.frame),
            "users": int(challenger.frame["user"].nunique()),
        },
        "figures": {one.label: _figures(one, decision.rule.metric) for one in decision.answers},
        "differences": [
            {
                "rival": duel.rival,
                "all": asdict(duel.overall),
                "guarded": {
                    name: None if interval is None else asdict(interval)
                    for name, interval in duel.guarded.items()
                },
            }
            for duel in decision.duels
        ],
    }


def tags(decision: Decision) -> dict[str, str]:
    """What the version's tags say of the decision."""
    found = {
        "promotion.decision": decision.outcome,
        "promotion.reasons": "; ".join(decision.reasons) or _WORDS[decision.outcome],
    }
    if decision.rule is None or decision.window is None:
        return found
    window, frame = decision.window, decision.answers[0].frame
    return found | {
        "promotion.rule": str(decision.rule),
        "promotion.metric": decision.rule.metric,
        "promotion.against": decision.against,
        "promotion.difference": "; ".join(shown(duel.overall) for duel in decision.duels),
        "promotion.guarded": json.dumps(
            {
                name: None if interval is None else shown(interval)
                for duel in decision.duels
                for name, interval in duel.guarded.items()
            }
        ),
        "promotion.window": f"{window.start} to {window.end}",
        "promotion.publication": str(window.publication),
        "promotion.targets": str(len(frame)),
        "promotion.users": str(frame["user"].nunique()),
    }


def section(decision: Decision) -> str:
    """The decision as Markdown without a heading of its own, for the card and the report."""
    said = f"Version {decision.version} was **{_WORDS[decision.outcome]}**"
    lines = [said + (f" against {decision.against}." if decision.duels else ".")]
    lines += ["\n".join(f"- {reason}" for reason in decision.reasons)] if decision.reasons else []
    if decision.rule is None or decision.window is None:
        return "\n\n".join(lines) + "\n"
    window, frame = decision.window, decision.answers[0].frame
    lines.append(f"Rule: {decision.rule}.")
    lines.append(
        f"Measured on {len(frame):,} targets of {frame['user'].nunique():,} users from {window.start} to "
        f"{window.end} (publication {window.publication}, sequence table version {window.table_version}), "
        "which none of the models has learned from or been chosen by."
    )
    lines.append(_differences(decision.duels, decision.rule))
    return "\n\n".join(lines) + "\n"


def report(decision: Decision) -> str:
    """The decision as a page of Markdown, figures by slice included."""
    parts = [f"# {decision.name} version {decision.version}: {_WORDS[decision.outcome]}", section(decision)]
    if decision.rule is not None:
        metric = decision.rule.metric
        columns = {one.label: _figures(one, metric) for one in decision.answers}
        sizes = _sizes(decision.answers[0].frame)
        rows = {
            label(part): [f"{size:,}", *(_number(values.get(part)) for values in columns.values())]
            for part, size in sizes.items()
        }
        table = pd.DataFrame.from_dict(rows, orient="index", columns=["targets", *columns])
        parts += [f"## {metric} by slice", markdown(table, "slice")]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _differences(duels: Sequence[Duel], rule: Rule) -> str:
    rows = []
    for one in duels:
        for name, interval in {"all": one.overall, **one.guarded}.items():
            bound = "> 0" if name == "all" else f"> −{rule.tolerance:g}"
            if interval is None:
                rows.append([one.rival, label(name), "–", "–", bound, "too few users"])
                continue
            holds = interval.above_zero if name == "all" else interval.low > -rule.tolerance
            sizes = f"{interval.users:,} / {interval.targets:,}"
            rows.append([one.rival, label(name), shown(interval), sizes, bound, "yes" if holds else "**no**"])
    heads = ["rival", "slice", f"{rule.metric}, difference", "users / targets", "lower end", "holds"]
    return markdown(pd.DataFrame(rows, columns=heads))


def _figures(answers: Answers, metric: str) -> dict[str, float]:
    """Mean of the metric on every slice that holds a target."""
    found = {}
    for part in _sizes(answers.frame):
        if metric.startswith(OF_BASKETS):
            value = answers.summary[part].get(metric, np.nan)
        else:
            value = float(pd.Series(values_of(answers.frame[SLICES[part](answers.frame)], metric)).mean())
        if np.isfinite(value):
            found[part] = value
    return found


def _sizes(frame: pd.DataFrame) -> dict[str, int]:
    sizes = {part: int(SLICES[part](frame).sum()) for part in LABELS if part in SLICES}
    return {part: size for part, size in sizes.items() if size}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
