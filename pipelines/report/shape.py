"""The shape of sessions: events, length, the gaps that cut them, and what another limit would give."""

from dataclasses import dataclass, field
from typing import Any, Final

from features.durations import parse_duration
from features.page.amounts import count, duration, share
from features.page.charts import axis, chart, layer, tip
from features.page.figure import Numbers, figure
from features.page.html import Html
from features.page.shell import Section, grid
from pipelines.report.facts import Facts
from pipelines.report.gold_scan import EDGES, GoldScan
from pipelines.report.headline import Totals
from pipelines.report.pictures import Bar, Bin, columns, durations
from pipelines.report.snapshot import Snapshot

SIZES: Final = ((1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 32), (33, 64), (65, 128), (129, None))
"""Bands of events in a session."""


@dataclass(frozen=True)
class Shape:
    """Sessions by number of events and by length in seconds."""

    sizes: dict[str, int] = field(default_factory=dict)
    median_events: int = 0
    most_events: int = 0
    lengths: list[Bin] = field(default_factory=list)
    longest: float = 0.0


def session_limit(config: Any) -> float | None:
    """The gap, in seconds, by which the run cut sessions; None where another rule cut them."""
    sessions = config.get("sessions", {})
    if sessions.get("rule", "gap") != "gap" or not sessions.get("gap"):
        return None
    return parse_duration(sessions["gap"]) / 1_000_000


def measure(tables: Snapshot) -> Shape:
    """Two aggregates of ``silver/sessions``."""
    if not tables.has("silver/sessions"):
        return Shape()
    by_size = tables.query("SELECT n_events AS size, count(*) AS n FROM sessions GROUP BY 1 ORDER BY 1")
    if not by_size:
        return Shape()
    sizes = {
        _band(low, high): sum(row["n"] for row in by_size if low <= row["size"] <= (high or row["size"]))
        for low, high in SIZES
    }
    by_length = tables.query(
        "WITH s AS (SELECT extract(epoch FROM end_ts) - extract(epoch FROM start_ts) AS length "
        "FROM sessions) SELECT CASE WHEN length < 1 THEN 0 "
        "ELSE 1 + CAST(floor(6 * log10(length) + 1e-9) AS INT) END AS bin, "
        "count(*) AS n, max(length) AS longest FROM s GROUP BY 1 ORDER BY 1"
    )
    counted = {row["bin"]: row["n"] for row in by_length}
    lengths = [Bin(EDGES[at], EDGES[at + 1], counted.get(at, 0)) for at in range(max(counted) + 1)]
    return Shape(
        sizes, _median(by_size), by_size[-1]["size"], lengths, max(row["longest"] for row in by_length)
    )


def _median(by_size: list[dict[str, Any]]) -> int:
    half, seen = sum(row["n"] for row in by_size) / 2, 0
    for row in by_size:
        seen += row["n"]
        if seen >= half:
            return int(row["size"])
    return 0


def _band(low: int, high: int | None) -> str:
    return f"{low}+" if high is None else str(low) if low == high else f"{low}–{high}"


def section(facts: Facts, totals: Totals, found: Shape, scan: GoldScan) -> Section:
    """Four pictures of how events fall into sessions."""
    if not found.sizes:
        return Section("sessions", "Sessions and gaps", "No session is published yet.")
    limit = session_limit(facts.built_config)
    lead = (
        f"Sessions are cut by the rule “{facts.built_config.get('sessions', {}).get('rule')}”, not by a gap."
    )
    if limit is not None:
        lead = f"A session ends where more than {duration(limit)} pass without an event."
    figures = [_sizes(totals, found), _lengths(found), _gaps(scan, limit), _limits(totals, scan, limit)]
    return Section("sessions", "Sessions and gaps", lead, [grid(*figures)])


def _sizes(totals: Totals, found: Shape) -> Html:
    finding = (
        f"Half of the sessions have at most {count(found.median_events)} events; the longest has "
        f"{count(found.most_events)}, and {share(found.sizes['1'], totals.sessions)} have one alone."
    )
    bars = [
        Bar(band, n / totals.sessions, f"{count(n)} ({share(n, totals.sessions)})")
        for band, n in found.sizes.items()
    ]
    titles = ("Events in a session (count)", "Sessions (share)")
    return columns("session-events", "Events per session", finding, bars, titles, form="~%")


def _lengths(found: Shape) -> Html:
    total = sum(one.n for one in found.lengths)
    brief = sum(one.n for one in found.lengths if one.high <= 60.1)
    finding = (
        f"{share(brief, total)} of the sessions are over within about a minute; "
        f"the longest lasts {duration(found.longest)}."
    )
    titles = ("Length of a session (log scale)", "Sessions (share)")
    return durations("session-length", "Session length", finding, found.lengths, titles)


def _gaps(scan: GoldScan, limit: float | None) -> Html:
    total = sum(one.n for one in scan.gaps)
    titles = ("Gap between a user's events (log scale)", "Gaps (share)")
    if not total:
        return figure("session-gaps", "Gaps between events", "No user has two events.", None)
    middle = f"Half of the gaps are shorter than about {duration(scan.quantiles['0.5'], 2)}"
    finding = f"{middle}."
    if limit is not None:
        finding = (
            f"{middle}; {share(scan.longer[int(limit)], total)} are longer than the limit of "
            f"{duration(limit)} and begin a session."
        )
    return durations("session-gaps", "Gaps between events", finding, scan.gaps, titles, limit=limit)


def _limits(totals: Totals, scan: GoldScan, limit: float | None) -> Html:
    title = "Sessions under another limit"
    if not scan.longer:
        return figure("session-limits", title, "No user has two events.", None)
    rows: list[dict[str, Any]] = [
        {
            "limit": at,
            "sessions": totals.users + n,
            "named": duration(at),
            "said": f"{count(totals.users + n)} ({(totals.users + n) / max(1, totals.users):.2f} a user)",
            "chosen": limit is not None and at == int(limit),
        }
        for at, n in scan.longer.items()
    ]
    finding = (
        f"Limits from {rows[0]['named']} to {rows[-1]['named']} would give {count(rows[0]['sessions'])} to "
    )
    finding += f"{count(rows[-1]['sessions'])} sessions."
    chosen = [row for row in rows if row["chosen"]]
    if chosen and limit is not None:
        longer = next((row for row in rows if row["limit"] >= 2 * limit), rows[-1])
        change = longer["sessions"] / chosen[0]["sessions"] - 1
        finding = (
            f"A limit of {longer['named']} instead of {duration(limit)} would give "
            f"{count(longer['sessions'])} sessions, {share(-change)} fewer."
        )
    encoding = {
        "x": axis(
            "limit",
            "Session gap (log scale)",
            scale={"type": "log", "nice": False},
            values=[60, 600, 1_800, 3_600, 14_400, 86_400],
            labelExpr="datum.value < 3600 ? datum.value / 60 + ' min' : datum.value / 3600 + ' h'",
        ),
        "y": axis("sessions", "Sessions (count)", format="~s", tickCount=4, scale={"zero": True}),
    }
    told = [tip("named", "Session gap"), tip("said", "Sessions")]
    spec = chart(
        rows,
        layer("line", "c1"),
        layer("point", "c1", encoding={"tooltip": told}, filled=True, size=50, opacity=1),
        layer(
            "point",
            "c2",
            encoding={"tooltip": told},
            transform=[{"filter": "datum.chosen"}],
            filled=True,
            size=140,
            opacity=1,
        ),
        encoding=encoding,
    )
    note = (
        f"Published are {count(totals.sessions)} sessions; the cut at sessions.max is left out of the curve."
    )
    numbers = Numbers(["Gap", "Sessions (count)"], [[row["named"], row["said"]] for row in rows], (1,))
    return figure("session-limits", title, finding, spec, numbers=numbers, note=note)
