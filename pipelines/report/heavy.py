"""How unevenly events are spread over users, and who the heaviest are."""

from dataclasses import dataclass, field
from typing import Any, Final

from features.page.amounts import count, several, share
from features.page.charts import axis, chart, layer, tip
from features.page.figure import Numbers, figure
from features.page.html import Child, Html, tag
from features.page.shell import Section, grid
from features.page.table import table
from pipelines.report.snapshot import Snapshot

TOP: Final = 10
POINTS: Final = 200
"""Most points of the curve."""


@dataclass(frozen=True)
class Heavy:
    """Points of the Lorenz curve, heaviest users first, and the heaviest."""

    curve: list[tuple[float, float]] = field(default_factory=list)  # share of users, of events
    top: list[dict[str, Any]] = field(default_factory=list)
    users: int = 0
    heavy: int = 0
    bots: int = 0


def measure(tables: Snapshot) -> Heavy:
    """Users grouped by their number of events: as many groups as there are different numbers."""
    if not tables.has("silver/users"):
        return Heavy()
    groups = tables.query("SELECT n_events AS size, count(*) AS n FROM users GROUP BY 1 ORDER BY 1 DESC")
    if not groups:
        return Heavy()
    flags = tables.one(
        "SELECT count(*) FILTER (WHERE is_heavy) AS heavy, count(*) FILTER (WHERE is_bot) AS bots FROM users"
    )
    top = tables.query(
        "SELECT user_id, n_events, n_sessions, is_heavy, is_bot FROM users "
        f"ORDER BY n_events DESC, user_id LIMIT {TOP}"
    )
    users, events = sum(row["n"] for row in groups), sum(row["n"] * row["size"] for row in groups)
    curve, seen, held = [(0.0, 0.0)], 0, 0
    for row in groups:
        seen, held = seen + row["n"], held + row["n"] * row["size"]
        curve.append((seen / users, held / events))
    return Heavy(_thin(curve), top, users, flags["heavy"], flags["bots"])


def held_by(curve: list[tuple[float, float]], users: float) -> float:
    """Share of events that the heaviest ``users`` (a share) hold, between the curve's points.

    >>> held_by([(0.0, 0.0), (0.5, 0.8), (1.0, 1.0)], 0.25)
    0.4
    """
    before = (0.0, 0.0)
    for point in curve:
        if point[0] >= users:
            width = point[0] - before[0]
            return before[1] + (point[1] - before[1]) * ((users - before[0]) / width if width else 1)
        before = point
    return 1.0


def _thin(curve: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most ``POINTS`` points, evenly by the share of events, both ends kept."""
    kept, step = [curve[0]], 1 / POINTS
    for point in curve[1:-1]:
        if point[1] - kept[-1][1] >= step:
            kept.append(point)
    return [*kept, curve[-1]]


def section(found: Heavy) -> Section:
    """The curve and the heaviest users."""
    if not found.users:
        return Section("heavy", "Heavy users", "No user is published yet.")
    lead = (
        f"{several(found.heavy, 'user')} flagged as heavy, {several(found.bots, 'bot')}; they stay in the "
        "tables, where a model can leave them out."
    )
    return Section("heavy", "Heavy users", lead, [grid(_curve(found), _top(found))])


def _curve(found: Heavy) -> Html:
    tenth = held_by(found.curve, 0.1)
    finding = f"The tenth of users with most events has {share(tenth)} of all events."
    rows = [
        {"users": users, "events": events, "said": share(events), "of": share(users)}
        for users, events in found.curve
    ]
    encoding = {
        "x": axis("users", "Users, those with most events first (share)", format="~%", tickCount=5),
        "y": axis("events", "Events (share)", format="~%", tickCount=5),
    }
    told = [tip("of", "Users"), tip("said", "Events")]
    even = [{"users": 0, "events": 0}, {"users": 1, "events": 1}]
    spec = chart(
        rows,
        layer("line", "axis", rows=even, strokeDash=[4, 3]),
        layer("line", "c1", strokeWidth=2.5),
        layer("point", "c1", encoding={"tooltip": told}, opacity=0.01, size=120, filled=True),
        encoding=encoding,
        height=240,
    )
    shares = [(part, held_by(found.curve, part)) for part in (0.01, 0.05, 0.1, 0.25, 0.5)]
    numbers = Numbers(
        ["Users", "Events"], [[share(users), share(events)] for users, events in shares], (0, 1)
    )
    note = "Dashed: if all users had the same number of events."
    return figure("heavy-curve", "Who the events belong to", finding, spec, numbers=numbers, note=note)


def _top(found: Heavy) -> Html:
    rows: list[list[Child]] = [
        [
            row["user_id"],
            count(row["n_events"]),
            count(row["n_sessions"]),
            ", ".join(word for word in ("heavy", "bot") if row[f"is_{word}"]) or "–",
        ]
        for row in found.top
    ]
    first = found.top[0]
    finding = (
        f"User {first['user_id']} has most events: {count(first['n_events'])} in "
        f"{several(first['n_sessions'], 'session')}."
    )
    shown = table(
        ["User", "Events (count)", "Sessions (count)", "Flags"],
        rows,
        caption="Users with most events",
        numeric=(1, 2),
        head=True,
    )
    caption = tag("figcaption", tag("h3", "Users with most events"), tag("p", finding, class_="finding"))
    return tag("figure", caption, shown)
