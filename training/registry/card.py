"""The model card: what a person should know before using a model, as Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from training.evaluate.report import LABELS, label, markdown
from training.evaluate.run import Summary
from training.fit.config import Config
from training.fit.models import is_click
from training.registry.finished import FinishedRun

PROMOTION: Final = "## Promotion"
"""Heading of the section that ``with_promotion`` writes."""


@dataclass(frozen=True)
class Tested:
    """The test figures of a run that a model is set beside."""

    label: str  # "control sasrec", "champion v3"
    origin: Mapping[str, Any]  # its run.json
    config: Config
    test: Summary
    summary: Mapping[str, Any]  # its summary.json


def tested(run: FinishedRun, named: str) -> Tested:
    """A finished run as something to be set beside another."""
    return Tested(named, run.origin, run.config, run.test, run.summary)


def card(run: FinishedRun, name: str, rivals: Sequence[Tested]) -> str:
    """The card of a run that is registered as ``name``, beside its controls and the present champion."""
    own = tested(run, "this model")
    alike = [rival for rival in rivals if same_test(own, rival)]
    parts = [
        f"# {name}: {run.config.model.name}",
        f"Ranks the items that a user is likely to act on next, from the events before. Fitted by seqloom on "
        f"{run.origin['started_at'][:10]}, run `{run.name}`.",
        "## Data",
        _bullets(_data(run.origin)),
        "## Model",
        _bullets(_model(run)),
        "## Test figures",
        _figures([own, *alike]),
        *(
            f"{rival.label} was tested on other targets ({_window(rival.origin)}): "
            "`promote` compares both on the same ones."
            for rival in rivals
            if not same_test(own, rival)
        ),
        "## Limits",
        _bullets(_limits(run)),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def with_promotion(text: str, section: str) -> str:
    """The card with this section in place of an older one."""
    before, _, _ = text.partition(f"\n{PROMOTION}")
    return f"{before.rstrip()}\n\n{PROMOTION}\n\n{section.strip()}\n"


def metric_of(config: Config) -> str:
    """The figure that a model is chosen by, without its slice."""
    return config.metric.rpartition("/")[2]


def same_test(one: Tested, other: Tested) -> bool:
    """Whether two runs were tested on the same targets, by the same figure."""
    return all(one.test) == all(other.test) and _test_of(one) == _test_of(other)


def _test_of(run: Tested) -> tuple[Any, ...]:
    table, splits = run.origin["table"], run.origin["splits"]
    return (
        *(table[key] for key in ("version", "publication", "as_of", "fit_id")),
        splits["valid_end"],
        splits["end"],
        run.config.test.targets,
        is_click(run.config.model),
        run.config.data.candidates if is_click(run.config.model) else None,
    )


def _data(origin: Mapping[str, Any]) -> dict[str, str]:
    table, splits, sizes = origin["table"], origin["splits"], origin["vocabulary"]
    return {
        "table": f"`{table['path']}` version {table['version']} ({table['rows']:,} rows)",
        "publication": f"{table['publication']}, nothing at or after {table['as_of']}, "
        f"fit `{table['fit_id']}`",
        "learned from": f"targets before {splits['train_end']}",
        "chosen by": f"targets before {splits['valid_end']}",
        "tested on": f"targets before {splits['end']}",
        "vocabulary": ", ".join(f"{sizes[kind] - 2:,} {kind}" for kind in ("items", "categories", "types"))
        + f", {sizes['themes']:,} themes",
    }


def _model(run: FinishedRun) -> dict[str, str]:
    summary, code = run.summary, run.commit or "unknown"
    return {
        "parameters": f"{summary['parameters']:,}",
        "training": f"{summary['steps']:,} steps, best after {max(summary['best_step'], 0):,}, "
        f"{summary['seconds']:,.0f} s on {summary['device']}, seed {run.config.seed}",
        "configuration": f"`{run.config.fingerprint}` (run/config.toml)",
        "code": f"`{code}`" + (", **with uncommitted changes**" if run.dirty else ""),
        "weights": f"SHA-256 `{run.weights[:16]}…`",
    }


def _figures(columns: Sequence[Tested]) -> str:
    """Slices down, models across."""
    if not columns[0].test:
        return "The run left the test out (test.targets = 0)."
    metric = metric_of(columns[0].config)
    own = columns[0].test
    rows = {
        label(part): [f"{own[part]['targets']:,.0f}", *(_value(one.test, part, metric) for one in columns)]
        for part in LABELS
        if part in own
    }
    heads = ["targets", *(one.label for one in columns)]
    table = markdown(pd.DataFrame.from_dict(rows, orient="index", columns=heads), "slice")
    return f"{metric}, mean over targets:\n\n{table}"


def _value(test: Summary, part: str, metric: str) -> str:
    value = test.get(part, {}).get(metric)
    return "–" if value is None else f"{value:.4f}"


def _limits(run: FinishedRun) -> list[str]:
    every = run.test.get("all", {})
    ceiling = every.get("coverage_ceiling")
    found = [
        f"knows items with {run.config.data.min_count} or more events before "
        f"{run.origin['splits']['train_end']}; all others share one code and are never recommended"
        + (f" ({1 - ceiling:.1%} of the test's targets)" if ceiling is not None else ""),
        f"reads a user's latest {run.config.data.max_length:,} events at most",
        "one training run: the spread over seeds is not in these figures",
        "measured on logged behaviour: what users do with other recommendations than they saw is not known",
    ]
    if is_click(run.config.model):
        found.append(
            "no impressions: AUC is against drawn negatives and compares models only on the same draws"
        )
    return found


def _window(origin: Mapping[str, Any]) -> str:
    table, splits = origin["table"], origin["splits"]
    return f"publication {table['publication']}, {splits['valid_end']} to {splits['end']}"


def _bullets(items: Mapping[str, str] | Sequence[str]) -> str:
    if isinstance(items, Mapping):
        return "\n".join(f"- {name}: {text}" for name, text in items.items())
    return "\n".join(f"- {text}" for text in items)
