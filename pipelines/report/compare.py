"""Two builds side by side: what changed in rows, refusals, hops, themes and time."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from features.page.amounts import count, duration, share
from features.page.charts import axis, chart, layer, tip
from features.page.colours import colour
from features.page.figure import Numbers, figure
from features.page.html import Child, Html
from features.page.shell import Section, grid
from features.page.table import table
from pipelines.errors import ConfigError
from pipelines.report import cost, funnel, headline, rates, theme_table
from pipelines.report.facts import Facts, is_readable, read_facts

SHOWN: Final = 15
"""Themes that changed most."""

NAMES: Final = {"decided": "decided sessions", "rejected": "refused rows", "sequences": "tensor rows"}
"""What the table calls some of the totals."""


@dataclass(frozen=True)
class Build:
    """What is compared of a build."""

    name: str
    facts: Facts
    totals: headline.Totals
    funnel: funnel.Funnel
    rates: rates.Rates
    themes: theme_table.Themes
    cost: cost.Cost


def other_build(root: str, wanted: str) -> Build:
    """Another warehouse's folder, or a run that published in this one.

    Raises ConfigError where it is neither, or where upkeep has removed the run's files.
    """
    if (Path(wanted) / "ops").is_dir():
        return measure(Path(wanted).resolve().name, read_facts(wanted))
    if "/" in wanted or Path(wanted).is_dir():
        raise ConfigError(f"--compare {wanted}: no warehouse is there; pass its folder, or a run id")
    facts = read_facts(root, wanted)
    gone = [table for table in facts.tables.versions if not _there(facts, table)]
    if gone:
        raise ConfigError(f"--compare {wanted}: upkeep has removed that version of {', '.join(gone)}")
    return measure(f"run {wanted}", facts)


def _there(facts: Facts, table: str) -> bool:
    return facts.pointer is not None and is_readable(facts.root, facts.pointer, table)


def measure(name: str, facts: Facts) -> Build:
    """The part of a build's figures that is compared."""
    totals = headline.measure(facts.tables)
    return Build(
        name,
        facts,
        totals,
        funnel.measure(facts, totals),
        rates.measure(facts.tables),
        theme_table.measure(facts),
        cost.measure(facts),
    )


def section(now: Build, other: Build) -> Section:
    """The table of changes, refusals, hop rates and theme sizes."""
    lead = f"This build beside {other.name}. {_told(now, other)}"
    body: list[Child] = [_table(now, other), grid(_hops(now, other), _themes(now, other))]
    return Section("compare", f"Compared with {other.name}", lead, body)


def changes(now: Build, other: Build) -> list[tuple[str, float, float]]:
    """Name, this build's and the other's figure, of everything that is counted or timed."""
    theirs = asdict(other.totals)
    pairs = [(NAMES.get(name, name), n, theirs[name]) for name, n in asdict(now.totals).items()]
    reasons = {**other.funnel.reasons, **now.funnel.reasons}
    pairs += [
        (
            f"refused: {reason.replace('_', ' ')}",
            now.funnel.reasons.get(reason, 0),
            other.funnel.reasons.get(reason, 0),
        )
        for reason in reasons
    ]
    return pairs


def _told(now: Build, other: Build) -> str:
    events = now.totals.events - other.totals.events
    more = "more" if events >= 0 else "fewer"
    rate, before = _rate(now.totals), _rate(other.totals)
    return (
        f"It has {count(abs(events))} {more} events "
        f"({_relative(now.totals.events, other.totals.events)}), and {share(rate)} of its decided sessions "
        f"hop instead of {share(before)}."
    )


def _rate(totals: headline.Totals) -> float:
    return totals.hops / totals.decided if totals.decided else 0.0


def _relative(now: float, other: float) -> str:
    if not other:
        return "–" if not now else "new"
    return f"{100 * (now / other - 1):+.1f}\u202f%"


def _table(now: Build, other: Build) -> Html:
    rows: list[list[Child]] = [
        [name, count(a), count(b), f"{round(a - b):+,}", _relative(a, b)]
        for name, a, b in changes(now, other)
    ]
    shares = {
        "hops of decided sessions": (_rate(now.totals), _rate(other.totals)),
        "returns of hops": (
            _part(now.totals.returns, now.totals.hops),
            _part(other.totals.returns, other.totals.hops),
        ),
    }
    rows += [
        [name, share(a), share(b), f"{100 * (a - b):+.1f} points", _relative(a, b)]
        for name, (a, b) in shares.items()
    ]
    a, b = sum(now.cost.seconds.values()), sum(other.cost.seconds.values())
    rows.append(["time of the last run", duration(a), duration(b), f"{a - b:+,.1f} s", _relative(a, b)])
    columns = ["Figure", "This build", other.name, "Difference", "Relative"]
    return table(columns, rows, caption="What changed", numeric=(1, 2, 3, 4), head=True)


def _part(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _hops(now: Build, other: Build) -> Html:
    title = "Hop rate by activity"
    rows: list[dict[str, Any]] = [
        {
            "band": row["band"],
            "build": name,
            "rate": row["hops"] / row["decided"],
            "said": f"{share(row['hops'], row['decided'])} ({count(row['hops'])} of {count(row['decided'])})",
        }
        for name, build in (("this build", now), (other.name, other))
        for row in build.rates.bands
        if row["decided"]
    ]
    if not rows:
        return figure("compare-hops", title, "No session is decided in either build.", None)
    order = [rates.band_name(*band) for band in rates.BANDS]
    rate, before = _rate(now.totals), _rate(other.totals)
    finding = f"Over all users the hop rate is {100 * (rate - before):+.1f} points away from {other.name}'s."
    encoding = {
        "x": axis("band", "Sessions of a user (count)", "ordinal", sort=order, labelAngle=0),
        "y": axis(
            "rate", "Hops (share of decided sessions)", format="~%", tickCount=4, scale={"domainMin": 0}
        ),
        "color": _colours(other.name),
        "shape": {**_colours(other.name), "scale": {"domain": ["this build", other.name]}},
    }
    told = [tip("band", "Sessions of a user"), tip("build", "Build"), tip("said", "Hops")]
    points = layer("point", encoding={"tooltip": told}, filled=True, size=60, opacity=1)
    spec = chart(rows, layer("line"), points, encoding=encoding)
    numbers = Numbers(
        ["Sessions of a user", "Build", "Hops"], [[r["band"], r["build"], r["said"]] for r in rows], (2,)
    )
    return figure("compare-hops", title, finding, spec, numbers=numbers)


def _themes(now: Build, other: Build) -> Html:
    title = "Themes' sizes"
    ours, theirs = ({one.theme_id: one for one in build.themes.themes} for build in (now, other))
    ids = sorted(ours.keys() | theirs.keys())
    if not ids:
        return figure("compare-themes", title, "Neither build has a theme.", None)
    same = (now.facts.fit or {}).get("fit_id") == (other.facts.fit or {}).get("fit_id")
    moved = {theme: _share(ours, theme) - _share(theirs, theme) for theme in ids}
    chosen = sorted(ids, key=lambda theme: (-abs(moved[theme]), theme))[:SHOWN]
    top = chosen[0]
    names = {theme: (ours.get(theme) or theirs[theme]).name for theme in chosen}
    finding = f"{names[top]} changed most, by {100 * moved[top]:+.1f} points of the sessions."
    rows: list[dict[str, Any]] = [
        {"name": names[theme], "build": build, "share": part, "said": share(part)}
        for theme in chosen
        for build, part in (
            ("this build", _share(ours, theme)),
            (other.name, _share(theirs, theme)),
        )
    ]
    reach = {"domain": [0, 1.06 * max(row["share"] for row in rows) or 1]}
    encoding = {
        "y": axis("name", "Theme", "nominal", sort=None, labelLimit=140, grid=True),
        "x": axis("share", "Sessions with a theme (share)", format="~%", tickCount=4, scale=reach),
    }
    told = [tip("name", "Theme"), tip("build", "Build"), tip("said", "Share")]
    points = {"color": _colours(other.name), "tooltip": told}
    spec = chart(
        rows,
        layer("line", "axis", encoding={"detail": {"field": "name"}}, strokeWidth=1),
        layer("point", encoding=points, filled=True, size=60, opacity=1),
        height=19 * len(chosen),
        encoding=encoding,
    )
    note = (
        "Both builds have the same fit, so a theme is the same thing in both."
        if same
        else ("The builds have different fits: ids match only where a refit carried them over.")
    )
    numbers = Numbers(["Theme", "Build", "Share"], [[r["name"], r["build"], r["said"]] for r in rows], (2,))
    return figure("compare-themes", title, finding, spec, numbers=numbers, note=note)


def _share(themes: Mapping[int, theme_table.Theme], theme: int) -> float:
    return themes[theme].share if theme in themes else 0.0


def _colours(other: str) -> dict[str, Any]:
    scale = {"domain": ["this build", other], "range": [colour("c1"), colour("c2")]}
    return {"field": "build", "type": "nominal", "title": None, "scale": scale}
