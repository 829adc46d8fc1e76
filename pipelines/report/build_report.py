"""The build report: every section measured from the published tables, then drawn."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from features.page.amounts import instant
from features.page.html import json_script
from features.page.runtime import vega_runtime
from features.page.shell import Section, page
from features.spec import SequenceSpec
from pipelines.report import (
    activity,
    compare,
    cost,
    explorer,
    explorer_script,
    funnel,
    gold_scan,
    headline,
    heavy,
    histories,
    hopping,
    rates,
    sample,
    shape,
    strands,
    theme_table,
    themes,
    transitions,
    versions,
)
from pipelines.report.facts import Facts


@dataclass(frozen=True)
class Figures:
    """Everything a report shows of a build, as plain values."""

    totals: headline.Totals
    funnel: funnel.Funnel
    activity: activity.Activity
    shape: shape.Shape
    gold: gold_scan.GoldScan
    hopping: hopping.Hopping
    rates: rates.Rates
    themes: theme_table.Themes
    transitions: transitions.Transitions
    strands: strands.Strands
    heavy: heavy.Heavy
    cost: cost.Cost
    histories: dict[str, Any] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """For the page, where a test or a script finds them under the id ``figures``."""
        return asdict(self)


def measure(facts: Facts, users: Sequence[str] = ()) -> Figures:
    """Every aggregate, each in bounded memory; ``users`` are shown in the explorer whatever they do."""
    tables = facts.tables
    spec = SequenceSpec.from_json(facts.pointer.spec) if facts.pointer and facts.pointer.spec else None
    totals = headline.measure(tables)
    scan = gold_scan.measure(tables, spec, shape.session_limit(facts.built_config))
    return Figures(
        totals=totals,
        funnel=funnel.measure(facts, totals),
        activity=activity.measure(tables),
        shape=shape.measure(tables),
        gold=scan,
        hopping=hopping.measure(tables, facts.built_config),
        rates=rates.measure(tables),
        themes=theme_table.measure(facts),
        transitions=transitions.measure(tables),
        strands=strands.measure(tables, spec, scan),
        heavy=heavy.measure(tables),
        cost=cost.measure(facts),
        histories=histories.read_histories(tables, spec, sample.choose(tables, users)),
    )


SHORT: Final = {
    "funnel": "Rows",
    "activity": "Activity",
    "sessions": "Sessions",
    "hopping": "Hopping",
    "rates": "Rates",
    "transitions": "Moves",
    "cost": "Cost",
    "compare": "Compared",
    "explorer": "Explorer",
    "versions": "Versions",
}
"""Names of sections in the navigation."""


def sections(facts: Facts, found: Figures, other: compare.Build | None = None) -> list[Section]:
    """All sections in order; the comparison comes second, where there is one."""
    made = [
        headline.section(facts, found.totals),
        funnel.section(facts, found.funnel),
        activity.section(facts, found.activity),
        shape.section(facts, found.totals, found.shape, found.gold),
        hopping.section(facts, found.hopping, found.totals.hops),
        rates.section(found.rates),
        themes.section(facts, found.themes),
        transitions.section(found.transitions, found.themes),
        strands.section(found.strands),
        heavy.section(found.heavy),
        cost.section(found.cost),
        explorer.section(found.histories, found.themes),
        versions.section(facts),
    ]
    if other is not None:
        now = compare.Build(
            "this build", facts, found.totals, found.funnel, found.rates, found.themes, found.cost
        )
        made.insert(1, compare.section(now, other))
    return [replace(one, short=SHORT.get(one.identifier, "")) for one in made]


def render(facts: Facts, found: Figures, name: str, other: compare.Build | None = None) -> str:
    """The page of a warehouse called ``name``, beside another build where one is given."""
    subtitle = "Nothing is published yet."
    if facts.pointer is not None:
        p = facts.pointer
        subtitle = f"Build report · publication {p.number} of run {p.run_id} · as of {instant(p.as_of)}"
    return page(
        name,
        subtitle,
        sections(facts, found, other),
        runtime=vega_runtime(),
        banner=headline.verdict(facts),
        script=explorer_script.SCRIPT,
        css=explorer.CSS,
        footer=["Written by seqloom from the published tables.", json_script("figures", plain(found))],
    )


def plain(found: Figures) -> Any:
    """The figures with times as ISO 8601 texts and JSON's own kinds of keys."""
    return _plain({name: value for name, value in found.to_plain().items() if name != "histories"})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value
