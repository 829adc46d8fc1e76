"""When events happened: over time, and through the week."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from features.codes import MODES
from features.page.amounts import count, instant, share
from features.page.charts import axis, chart, layer, tip
from features.page.colours import colour
from features.page.figure import Numbers, figure
from features.page.html import Html
from features.page.shell import Section, grid
from pipelines.report.facts import Facts
from pipelines.report.snapshot import Snapshot

STEPS: Final = (("hour", 4), ("day", 190), ("week", 1_300), ("month", 1_000_000))
"""The step of the time axis, and the days up to which it is taken."""

WEEK: Final = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


@dataclass(frozen=True)
class Activity:
    """Events by step of time and mode, and by hour of the week (UTC)."""

    step: str = "day"
    over_time: list[dict[str, Any]] = field(default_factory=list)  # at, mode, n
    week: list[dict[str, Any]] = field(default_factory=list)  # day (0 is Sunday), hour, n


def measure(tables: Snapshot) -> Activity:
    """One scan of ``ts`` and ``mode``, grouped by the hour: every other step sums hours."""
    if not tables.has("bronze/events"):
        return Activity()
    hours = tables.query(
        "SELECT date_trunc('hour', ts) AS at, mode, count(*) AS n FROM events GROUP BY 1, 2 ORDER BY 1, 2"
    )
    if not hours:
        return Activity()
    span = (hours[-1]["at"] - hours[0]["at"]).total_seconds() / 86_400
    step = next(name for name, days in STEPS if span <= days)
    over_time: dict[tuple[datetime, int], int] = {}
    week: dict[tuple[int, int], int] = {}
    for row in hours:
        at = row["at"].astimezone(UTC)
        key, cell = (_floor(at, step), row["mode"]), ((at.weekday() + 1) % 7, at.hour)
        over_time[key] = over_time.get(key, 0) + row["n"]
        week[cell] = week.get(cell, 0) + row["n"]
    return Activity(
        step,
        [{"at": at, "mode": MODES[mode - 1], "n": n} for (at, mode), n in sorted(over_time.items())],
        [{"day": day, "hour": hour, "n": n} for (day, hour), n in sorted(week.items())],
    )


def _floor(at: datetime, step: str) -> datetime:
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    floors = {
        "hour": at.replace(minute=0, second=0, microsecond=0),
        "day": day,
        "week": day - timedelta(days=day.weekday()),
        "month": day.replace(day=1),
    }
    return floors[step]


def section(facts: Facts, found: Activity) -> Section:
    """Events over time by mode, and the rhythm of the week."""
    if not found.over_time:
        return Section("activity", "Activity over time", "No event is published yet.")
    first, last = found.over_time[0]["at"], found.over_time[-1]["at"]
    lead = f"Events from {first:%Y-%m-%d} to {last:%Y-%m-%d}, by {found.step}; all times are UTC."
    return Section("activity", "Activity over time", lead, [grid(_over_time(facts, found), _week(found))])


def _over_time(facts: Facts, found: Activity) -> Html:
    totals: dict[datetime, int] = {}
    for row in found.over_time:
        totals[row["at"]] = totals.get(row["at"], 0) + row["n"]
    peak = max(totals, key=lambda at: (totals[at], at))
    ordered = sorted(totals.values())
    middle = ordered[len(ordered) // 2]
    finding = (
        f"The busiest {found.step} began {_named(peak, found.step)} with {count(totals[peak])} events, "
        f"{totals[peak] / middle:,.1f} times the median {found.step}'s {count(middle)}."
    )
    modes = [mode for mode in MODES if any(row["mode"] == mode for row in found.over_time)]
    rows = [
        {
            "at": row["at"].isoformat(),
            "mode": row["mode"],
            "n": row["n"],
            "when": _named(row["at"], found.step),
        }
        for row in found.over_time
    ]
    y = axis("n", f"Events (count a {found.step})", format="~s", tickCount=4)
    x = axis(
        "at",
        f"Time (UTC, by {found.step})",
        "temporal",
        scale={"type": "utc"},
        tickCount=6,
        labelOverlap=True,
    )
    encoding = {
        "x": x | {"timeUnit": _unit(found.step)},
        "y": y,
        "color": {
            "field": "mode",
            "type": "nominal",
            "title": "Mode",
            "scale": {"domain": modes, "range": [colour(f"c{1 + MODES.index(mode)}") for mode in modes]},
            "legend": None if len(modes) == 1 else {},
        },
        "order": {"field": "order"},
        "tooltip": [tip("when", "Time"), tip("mode", "Mode"), tip("n", "Events", "quantitative", ",d")],
    }
    for row in rows:
        row["order"] = MODES.index(row["mode"])
    layers = [layer("bar", encoding=encoding)]
    note = None
    train_end = facts.fit["train_end"] if facts.fit else None
    if train_end is not None:
        layers.append(
            layer(
                "rule",
                "ink",
                rows=[{"at": train_end.isoformat(), "said": instant(train_end)}],
                encoding={"x": x, "tooltip": [tip("said", "What was learned ends at")]},
                strokeDash=[4, 3],
            )
        )
        note = f"Dashed: the fit has learned from events before {instant(train_end)}."
    numbers = Numbers(
        ["Time (UTC)", "Mode", "Events (count)"],
        [[row["when"], row["mode"], count(row["n"])] for row in rows],
        (2,),
    )
    return figure(
        "activity-time",
        f"Events by {found.step}",
        finding,
        chart(rows, *layers),
        numbers=numbers,
        note=note,
        wide=True,
    )


def _week(found: Activity) -> Html:
    total = sum(row["n"] for row in found.week)
    top = max(found.week, key=lambda row: (row["n"], row["day"], row["hour"]))
    night = sum(row["n"] for row in found.week if row["hour"] < 6)
    finding = (
        f"Most events fall on {WEEK[top['day']]} {top['hour']:02d}:00 to {top['hour'] + 1:02d}:00 UTC; "
        f"{share(night, total)} happen between 00:00 and 06:00."
    )
    rows = [
        {
            "day": WEEK[row["day"]],
            "hour": row["hour"],
            "n": row["n"],
            "said": f"{count(row['n'])} ({share(row['n'], total)})",
        }
        for row in found.week
    ]
    encoding = {
        "x": axis(
            "hour", "Hour of the day (UTC)", "ordinal", labelAngle=0, values=[0, 3, 6, 9, 12, 15, 18, 21]
        ),
        "y": axis("day", "Day of the week (UTC)", "ordinal", sort=[*WEEK[1:], WEEK[0]], domain=False),
        "fillOpacity": {"field": "n", "type": "quantitative", "scale": {"range": [0.06, 1]}, "legend": None},
        "tooltip": [tip("day", "Day"), tip("hour", "Hour (UTC)"), tip("said", "Events")],
    }
    spec = chart(rows, layer("rect", "c1", encoding=encoding), height=24 * len({row["day"] for row in rows}))
    numbers = Numbers(
        ["Day", "Hour (UTC)", "Events (count)"], [[r["day"], r["hour"], r["said"]] for r in rows], (1, 2)
    )
    return figure(
        "activity-week",
        "The week's rhythm",
        finding,
        spec,
        numbers=numbers,
        note="The stronger the colour, the more events.",
        wide=True,
    )


def _unit(step: str) -> str:
    return {
        "hour": "utcyearmonthdatehours",
        "day": "utcyearmonthdate",
        "week": "utcyearweek",
        "month": "utcyearmonth",
    }[step]


def _named(at: datetime, step: str) -> str:
    return f"{at:%Y-%m-%d %H:00}" if step == "hour" else f"{at:%Y-%m-%d}"
