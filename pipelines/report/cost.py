"""What the last run cost in time, and what its tables take on disk."""

from dataclasses import dataclass, field

from features.page.amounts import count, duration, several, share, size
from features.page.html import Html
from features.page.shell import Section, grid
from pipelines.report.facts import Facts
from pipelines.report.pictures import Bar, across


@dataclass(frozen=True)
class Cost:
    """Seconds by stage of the last run; bytes and rows by table of the published version."""

    seconds: dict[str, float] = field(default_factory=dict)
    tables: dict[str, dict[str, int]] = field(default_factory=dict)  # table -> files, bytes, rows


def measure(facts: Facts) -> Cost:
    """From the run's record and the tables' logs: no data is read."""
    sizes = {table: facts.tables.size(table) for table in sorted(facts.tables.versions)}
    named = {
        table: {"files": files, "bytes": amount, "rows": rows}
        for table, (files, amount, rows) in sizes.items()
    }
    return Cost(dict(facts.summary.get("seconds", {})), named)


def section(found: Cost) -> Section:
    """Stage times and bytes."""
    lead = "Nothing has run yet."
    if found.seconds:
        rows, whole = _events(found), sum(found.seconds.values())
        lead = f"The stages of the last run took {duration(whole)} together"
        lead += f", for {count(rows)} published events." if rows else "."
    return Section("cost", "Time and bytes", lead, [grid(_seconds(found), _bytes(found))])


def _events(found: Cost) -> int:
    return found.tables.get("bronze/events", {}).get("rows", 0)


def _seconds(found: Cost) -> Html:
    whole = sum(found.seconds.values())
    finding = "No stage has been timed."
    if found.seconds:
        slowest = max(found.seconds, key=lambda stage: found.seconds[stage])
        taken = found.seconds[slowest]
        finding = f"“{slowest}” took longest: {duration(taken)}, {share(taken, whole)} of the time."
    bars = [Bar(stage, seconds, duration(seconds)) for stage, seconds in found.seconds.items()]
    return across("cost-time", "Time by stage", finding, bars, ("Stage", "Time (seconds)"))


def _bytes(found: Cost) -> Html:
    whole = sum(table["bytes"] for table in found.tables.values())
    finding = "No table is published yet."
    if whole:
        largest = max(found.tables, key=lambda table: found.tables[table]["bytes"])
        amount = found.tables[largest]["bytes"]
        finding = f"{largest} is the largest table: {size(amount)} of {size(whole)} ({share(amount, whole)})."
        events = _events(found)
        if events:
            finding = finding[:-1] + f", {size(whole / events)} an event in all."
    ordered = sorted(found.tables.items(), key=lambda pair: -pair[1]["bytes"])
    bars = [
        Bar(name, table["bytes"], size(table["bytes"]), several(table["rows"], "row"))
        for name, table in ordered
    ]
    return across("cost-bytes", "Bytes by table", finding, bars, ("Table", "Size (bytes)"))
