"""``promote``: a challenger becomes champion where it is better on the newest held-out window."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from mlflow.entities.model_registry import ModelVersion

from training.command import say
from training.errors import ConfigError, DataError
from training.evaluate.slices import SLICES
from training.fit.config import Config
from training.fit.measure import metrics_of
from training.fit.models import is_click
from training.published import SEQUENCES
from training.registry import report
from training.registry.card import with_promotion
from training.registry.contest import TARGETS, ask, deciding, open_window
from training.registry.decision import GUARDED, Rule, duel, faults
from training.registry.logging import CARD
from training.registry.report import Decision
from training.registry.restore import (
    Contestant,
    artifact_text,
    contestant_of,
    control_contestant,
    run_id,
    uri,
)
from training.registry.tracking import Tracking
from training.registry.versions import CHAMPION, PREVIOUS, aliases, cut, find, set_tags

OVER: Final = "promotion.over"
"""Tag of a champion: the version that it replaced, empty for the first one."""

ROLLED_BACK: Final = "rollback.to"
"""Tag of a version that a person took back: the version that serves instead."""


@dataclass(frozen=True)
class Asked:
    """What a promotion is asked for."""

    name: str
    version: int | None = None  # default: the newest
    controls: tuple[str, ...] = ()  # run folders or model URIs
    first: bool = False  # take a first champion without a comparison
    again: bool = False  # decide on a version that was rolled back
    warehouse: str | None = None  # default: the challenger's own
    targets: int = TARGETS  # at most, whole users
    metric: str | None = None  # default: what the challenger's weights were chosen by
    guarded: tuple[str, ...] = GUARDED
    tolerance: float = Rule.tolerance
    guard_users: int = Rule.guard_users


def promote(tracking: Tracking, asked: Asked) -> tuple[dict[str, Any], bool]:
    """Decide, tag and report; the decision as plain values, and whether the version is champion now.

    Raises ConfigError where nothing says what a first champion is to be compared with.
    """
    client = tracking.client
    challenger = find(client, asked.name, asked.version)
    number = int(challenger.version)
    held = aliases(client, asked.name).get(CHAMPION)
    if held == number:
        say(f"{uri(challenger)} is the champion already")
        return {"name": asked.name, "version": number, "decision": "nothing_to_do", "champion": held}, True
    if ROLLED_BACK in challenger.tags and not asked.again:
        say(f"{uri(challenger)} was rolled back; pass --again to decide on it anew")
        return {"name": asked.name, "version": number, "decision": "rolled_back", "champion": held}, False
    if held is None and not asked.controls:
        if not asked.first:
            raise ConfigError(
                f"{asked.name} has no champion yet; name what version {number} has to beat with --control "
                "FOLDER, or pass --first to take it without a comparison"
            )
        contestant_of(challenger, "the first champion")  # what cannot be restored must not serve
        decision = Decision(asked.name, number, None, "first")
    else:
        decision = _compare(tracking, asked, challenger, held)
    where = _keep(tracking, challenger, decision)
    if decision.promotes:
        _crown(tracking, challenger, held)
    say(report.section(decision).strip())
    return report.plain(decision) | {"report": where, "champion": number if decision.promotes else held}, (
        decision.promotes
    )


def _compare(tracking: Tracking, asked: Asked, version: ModelVersion, held: int | None) -> Decision:
    """The challenger against the champion, if there is one, and every control."""
    challenger = contestant_of(version, f"v{version.version}")
    rivals = [control_contestant(tracking, control) for control in asked.controls]
    if held is not None:
        champion = contestant_of(find(tracking.client, asked.name, held), f"champion v{held}")
        rivals.insert(0, champion)
    contestants = [challenger, *rivals]
    rule = _rule(asked, [one.config for one in contestants])
    warehouse = asked.warehouse or _warehouse_of(challenger)
    table, window = open_window(warehouse, contestants)
    own, *others = ask(table, window, contestants, asked.targets)
    if own.frame["user"].nunique() < 2:
        raise DataError(
            f"{warehouse}: one user alone has targets from {window.start} to {window.end}, which shows "
            "nothing; build newer events first, or raise --targets"
        )
    duels = [duel(own, rival, rule, guarded=held is not None and rival is others[0]) for rival in others]
    found = faults(duels, rule)
    return Decision(
        name=asked.name,
        version=int(version.version),
        champion=held,
        outcome="not_promoted" if found else "promoted",
        reasons=tuple(found),
        rule=rule,
        warehouse=warehouse,
        window=window,
        answers=(own, *others),
        duels=tuple(duels),
    )


def _rule(asked: Asked, configs: Sequence[Config]) -> Rule:
    """The rule, with a metric that is measured of every contestant; ConfigError where there is none."""
    unknown = [name for name in asked.guarded if name not in SLICES]
    if unknown:
        raise ConfigError(f"--guard {', '.join(unknown)}: no such slice; there are {', '.join(SLICES)}")
    metric = asked.metric or deciding(configs)
    known = metrics_of(configs[0].model, configs[0].data.candidates.negatives)
    if any(is_click(config.model) for config in configs):
        known = ["auc"]
    if metric not in known:
        raise ConfigError(f"--metric {metric}: not measured of these models; one of {', '.join(known)}")
    return Rule(metric, asked.guarded, asked.tolerance, asked.guard_users)


def _warehouse_of(challenger: Contestant) -> str:
    path = str(challenger.origin["table"]["path"]).rstrip("/")
    if not path.endswith(f"/{SEQUENCES}"):
        raise ConfigError(
            f"{challenger.label} was fitted on {path}, outside a warehouse; pass --warehouse DIR"
        )
    return path.removesuffix(f"/{SEQUENCES}")


def _keep(tracking: Tracking, version: ModelVersion, decision: Decision) -> str:
    """Write the report beside the challenger's run, the tags and the card; where the report lies."""
    client, run = tracking.client, run_id(version)
    folder = f"promotions/{_name_of(decision)}"
    client.log_text(run, report.report(decision), f"{folder}/report.md")
    client.log_text(run, json.dumps(report.plain(decision), indent=2) + "\n", f"{folder}/decision.json")
    card = with_promotion(artifact_text(run, CARD), report.section(decision))
    client.log_text(run, card, CARD)
    client.update_model_version(version.name, str(version.version), description=cut(card))
    where = f"runs:/{run}/{folder}/report.md"
    set_tags(client, version, report.tags(decision) | {"promotion.report": where})
    return where


def _name_of(decision: Decision) -> str:
    """One folder for one question: deciding the same again writes the same place."""
    parts = [decision.name, f"v{decision.version}"]
    parts += [f"publication-{decision.window.publication}"] if decision.window else ["first"]
    parts += [f"against-v{decision.champion}"] if decision.champion is not None else []
    return "-".join(parts).replace(" ", "_")


def _crown(tracking: Tracking, version: ModelVersion, held: int | None) -> None:
    """Move the aliases: first the way back, then the champion."""
    client, name = tracking.client, version.name
    set_tags(client, version, {OVER: "" if held is None else str(held)})
    if ROLLED_BACK in version.tags:
        client.delete_model_version_tag(name, str(version.version), ROLLED_BACK)
    if held is not None:
        client.set_registered_model_alias(name, PREVIOUS, str(held))
    client.set_registered_model_alias(name, CHAMPION, str(version.version))
