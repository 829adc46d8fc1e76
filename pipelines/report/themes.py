"""What the themes are: a map, their sizes and typical items, and how they drift."""

import json
from typing import Any, Final

from features.page.amounts import count, share
from features.page.charts import axis, chart, layer, tip
from features.page.colours import colour
from features.page.figure import Numbers, figure
from features.page.html import Child, Html, tag
from features.page.shell import Section, grid
from features.page.table import table
from pipelines.report.facts import Facts
from pipelines.report.theme_table import Themes

LABELLED: Final = 12
"""Largest themes that are named on the map."""
SHOWN: Final = 15
"""Themes whose drift is drawn."""


def section(facts: Facts, found: Themes) -> Section:
    """The map, drift and the table of all themes."""
    if not found.themes:
        return Section("themes", "Themes", "No theme is published yet.")
    with_theme = sum(one.sessions for one in found.themes)
    lead = (
        f"{count(len(found.themes))} themes were learned; {share(with_theme, with_theme + found.none)} of "
        "the sessions have one. A theme is named by its id and its most typical category or item."
    )
    listing = tag(
        "details", tag("summary", f"All {len(found.themes)} themes"), _table(found), class_="numbers"
    )
    return Section("themes", "Themes", lead, [grid(_map(found), _drift(facts, found)), listing])


def _map(found: Themes) -> Html:
    rows = [
        {
            "x": one.x,
            "y": one.y,
            "sessions": one.sessions,
            "name": one.name,
            "short": str(one.theme_id) if at < LABELLED else "",
            "said": f"{count(one.sessions)} ({share(one.share)})",
            "categories": ", ".join(one.categories[:3]) or "–",
            "items": ", ".join(one.items[:3]) or "–",
        }
        for at, one in enumerate(found.themes)
    ]
    first = found.themes[0]
    top = sum(one.share for one in found.themes[:5])
    finding = (
        f"The largest theme is {first.name} with {share(first.share)} of the sessions; "
        f"the {min(5, len(rows))} largest hold {share(top)}."
    )
    told = [
        tip("name", "Theme"),
        tip("said", "Sessions"),
        tip("categories", "Categories"),
        tip("items", "Items"),
    ]
    encoding = {
        "x": axis(
            "x", "First main direction of the centroids (no unit)", labels=False, ticks=False, grid=True
        ),
        "y": axis("y", "Second main direction (no unit)", labels=False, grid=True),
    }
    size = {
        "field": "sessions",
        "type": "quantitative",
        "title": "Sessions",
        "scale": {"type": "sqrt", "range": [20, 1400]},
        "legend": {"format": "~s", "values": _legend(found), "symbolFillColor": colour("c1")},
    }
    spec = chart(
        rows,
        layer("point", "c1", encoding={"size": size, "tooltip": told}, filled=True, opacity=0.55),
        layer("text", "ink", encoding={"text": {"field": "short"}}, fontWeight="bold", fontSize=11),
        height=340,
        encoding=encoding,
    )
    note = (
        f"Themes that lie close have centroids that look alike; two dimensions show {share(found.shown)} of "
        "how they differ."
    )
    return figure("theme-map", "Theme map", finding, spec, note=note)


def _legend(found: Themes) -> list[int]:
    largest = max(one.sessions for one in found.themes)
    return sorted({max(1, int(float(f"{largest * part:.1g}"))) for part in (0.1, 0.4, 1.0)})


def _drift(facts: Facts, found: Themes) -> Html:
    rows: list[dict[str, Any]] = []
    chosen = sorted(found.themes, key=lambda one: -abs(one.share - one.learned_share))[:SHOWN]
    for one in sorted(chosen, key=lambda one: -one.share):
        parts = [("in what the fit learned", one.learned_share), ("now", one.share)]
        if one.before_share is not None:
            parts.insert(1, ("publication before", one.before_share))
        rows += [{"name": one.name, "when": when, "share": part, "said": share(part)} for when, part in parts]
    most = chosen[0]
    finding = (
        f"{most.name} changed most since the fit: from {share(most.learned_share)} to {share(most.share)} "
        "of the sessions."
    )
    names = list(dict.fromkeys(row["when"] for row in rows))
    hues = [colour("mute"), colour("c2"), colour("c1")] if len(names) == 3 else [colour("mute"), colour("c1")]
    reach = {"domain": [0, 1.06 * max(row["share"] for row in rows) or 1]}
    encoding = {
        "y": axis("name", "Theme", "nominal", sort=None, labelLimit=140, grid=True),
        "x": axis("share", "Sessions with a theme (share)", format="~%", tickCount=4, scale=reach),
    }
    told = [tip("name", "Theme"), tip("when", "When"), tip("said", "Share")]
    series = {
        "field": "when",
        "type": "nominal",
        "title": None,
        "scale": {"domain": names, "range": hues},
        "legend": {"columns": 2},
    }
    spec = chart(
        rows,
        layer("line", "axis", encoding={"detail": {"field": "name"}}, strokeWidth=1),
        layer("point", encoding={"color": series, "tooltip": told}, filled=True, size=60, opacity=1),
        height=19 * len(chosen),
        encoding=encoding,
    )
    numbers = Numbers(
        ["Theme", "When", "Share"], [[row["name"], row["when"], row["said"]] for row in rows], (2,)
    )
    return figure(
        "theme-drift", "Drift of the themes' sizes", finding, spec, numbers=numbers, note=_refit(facts)
    )


def _refit(facts: Facts) -> str:
    """What the fit says of the one before it."""
    text = facts.fit.get("drift") if facts.fit else None
    if not text:
        return "This is the first fit, so no theme of an earlier one can have moved."
    drift = json.loads(text)
    kept = drift["kept"].values()
    moved = f"; the least alike of them by {min(kept):.2f} (cosine)" if kept else ""
    changed = drift["changed_share"]
    also = "" if changed is None else f" {share(changed)} of sampled sessions changed their theme."
    return (
        f"Against fit {drift['previous_fit']}: {len(drift['kept'])} themes went on{moved}, "
        f"{len(drift['born'])} are new, {len(drift['ended'])} ended.{also}"
    )


def _table(found: Themes) -> Html:
    rows: list[list[Child]] = [
        [
            one.name,
            count(one.sessions),
            share(one.share),
            share(one.learned_share),
            ", ".join(one.categories) or "–",
            ", ".join(one.items) or "–",
        ]
        for one in found.themes
    ]
    columns = ["Theme", "Sessions (count)", "Share", "Share in the fit", "Top categories", "Top items"]
    return table(columns, rows, caption="All themes", numeric=(1, 2, 3), head=True)
