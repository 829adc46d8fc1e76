"""From raw rows to targets: what was lost where, with examples of what was refused."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from deltalake import DeltaTable

from features.page.amounts import count, several, share
from features.page.figure import figure
from features.page.html import Child, Html, tag
from features.page.shell import Section, grid
from features.page.table import table
from pipelines.report.facts import Facts
from pipelines.report.headline import Totals
from pipelines.report.pictures import Bar, across
from pipelines.report.snapshot import Snapshot, quoted

EXAMPLES: Final = 3
LONGEST: Final = 200
"""Characters of a refused record that are shown."""
REASONS: Final = 12

REJECTED: Final = "bronze/events_rejected"


@dataclass(frozen=True)
class Funnel:
    """Rows by step; ``read`` and ``kept`` belong to the last run, the others to the published tables."""

    read: int = 0
    duplicates: int = 0
    refused: int = 0
    kept: int = 0
    events: int = 0
    before_as_of: int = 0
    with_vector: int = 0
    targets: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def measure(facts: Facts, totals: Totals) -> Funnel:
    """The funnel; of a failed run also what it refused, which is in no published table."""
    summary, tables = facts.summary, facts.tables
    steps: dict[str, Any] = {
        "read": summary.get("events_in", 0),
        "duplicates": summary.get("duplicates", 0),
        "refused": sum(summary.get("rejected", {}).values()),
        "kept": summary.get("events_kept", 0),
        "events": totals.events,
        "targets": totals.targets,
    }
    if tables.has("silver/sessions"):
        steps |= tables.one(
            "SELECT coalesce(sum(n_events), 0) AS before_as_of, "
            "coalesce(sum(n_vectors_item + n_vectors_category), 0) AS with_vector FROM sessions"
        )
    refused = _refusals(facts)
    if refused is not None:
        where = f"WHERE batch_id = {quoted(facts.run.run_id)}" if facts.run and facts.failed else ""
        steps["reasons"] = _reasons(refused, where)
        steps["examples"] = _examples(refused, steps["reasons"], where)
    return Funnel(**steps)


def _refusals(facts: Facts) -> Snapshot | None:
    """Where refused rows lie: of a failed run in the version that it wrote and did not publish."""
    if not facts.failed:
        return facts.tables if facts.tables.has(REJECTED) else None
    path = f"{facts.root}/{REJECTED}"
    if not DeltaTable.is_deltatable(path):
        return None
    return Snapshot(facts.root, {REJECTED: DeltaTable(path).version()})


def _reasons(refused: Snapshot, where: str) -> dict[str, int]:
    found = refused.query(
        f"SELECT reason, count(*) AS n FROM events_rejected {where} GROUP BY reason ORDER BY n DESC, reason"
    )
    return {row["reason"]: row["n"] for row in found}


def _examples(refused: Snapshot, reasons: dict[str, int], where: str) -> dict[str, list[dict[str, Any]]]:
    also = where.replace("WHERE", "AND")
    return {
        reason: refused.query(
            f"SELECT substr(raw, 1, {LONGEST}) AS raw, file FROM events_rejected "
            f"WHERE reason = {quoted(reason)} {also} ORDER BY raw, file LIMIT {EXAMPLES}"
        )
        for reason in list(reasons)[:REASONS]
    }


def section(facts: Facts, funnel: Funnel) -> Section:
    """Two funnels, the refusals and their examples."""
    run = "the failed last run" if facts.failed else "the last run"
    lead = (
        f"Of {count(funnel.read)} rows that {run} read, {share(funnel.kept, funnel.read)} were new events, "
        f"{share(funnel.duplicates, funnel.read)} were known already and "
        f"{share(funnel.refused, funnel.read)} were refused."
    )
    figures = [_rows_figure(funnel, run), _events_figure(funnel), _reasons_figure(facts, funnel)]
    body: list[Child] = [grid(*figures)]
    if any(funnel.examples.values()):
        body += [tag("h3", "Examples of refused rows"), _example_table(funnel)]
    return Section("funnel", "From rows to tensors", lead, body)


def _rows_figure(funnel: Funnel, run: str) -> Html:
    steps = [
        ("read", funnel.read),
        ("refused", funnel.refused),
        ("known already", funnel.duplicates),
        ("new events", funnel.kept),
    ]
    lost = funnel.refused + funnel.duplicates
    finding = f"Of {count(funnel.read)} rows read, {count(lost)} did not become new events."
    bars = _bars(steps, funnel.read)
    return across("funnel-rows", f"Rows of {run}", finding, bars, ("Outcome", "Rows (count)"))


def _events_figure(funnel: Funnel) -> Html:
    steps = [
        ("events", funnel.events),
        ("before as_of", funnel.before_as_of),
        ("with a vector", funnel.with_vector),
        ("targets", funnel.targets),
    ]
    without = funnel.before_as_of - funnel.with_vector
    finding = (
        f"{share(without, funnel.before_as_of)} of the events have no vector to tell a theme by; "
        f"{count(funnel.targets)} have an earlier event and can be predicted."
    )
    if not funnel.events:
        finding = "No event is published yet."
    bars = _bars(steps, funnel.events)
    return across("funnel-events", "Published events", finding, bars, ("Step", "Events (count)"))


def _reasons_figure(facts: Facts, funnel: Funnel) -> Html:
    total = sum(funnel.reasons.values())
    where = "by the failed run" if facts.failed else "by all runs"
    if not total:
        return figure("funnel-reasons", "Why rows were refused", "No row has been refused.", None, wide=True)
    first, most = next(iter(funnel.reasons.items()))
    named = first.replace("_", " ")
    finding = f"{several(total, 'row')} refused {where}, {share(most, total)} of them as {named}."
    bars = _bars(funnel.reasons.items(), total)
    titles = ("Reason", "Rows (count)")
    return across("funnel-reasons", "Why rows were refused", finding, bars, titles, wide=True)


def _bars(steps: Iterable[tuple[str, int]], whole: int) -> list[Bar]:
    return [Bar(step.replace("_", " "), n, f"{count(n)} ({share(n, whole)})") for step, n in steps]


def _example_table(funnel: Funnel) -> Html:
    rows = [
        [
            reason.replace("_", " "),
            tag("code", one["raw"]) if one["raw"] is not None else tag("em", "removed"),
            (one["file"] or "–").rsplit("/", 1)[-1],
        ]
        for reason, examples in funnel.examples.items()
        for one in examples
    ]
    return table(["Reason", "Record", "File"], rows, caption="Examples of refused rows", head=True)
