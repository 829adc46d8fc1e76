"""Where users go from a theme: the matrix of successive sessions."""

from dataclasses import dataclass, field
from typing import Any, Final

from features.page.amounts import count, share
from features.page.charts import axis, chart, layer, tip
from features.page.figure import Numbers, figure
from features.page.html import Html
from features.page.shell import Section, grid
from pipelines.report.snapshot import Snapshot
from pipelines.report.theme_table import Themes

SHOWN: Final = 20
"""Largest themes with a row of their own; the others share one."""
OTHERS: Final = "others"
MOST_SESSIONS: Final = 2_000_000
"""That are sorted by user; of more, those of a part of the users are (20 M need over 1 GB)."""


@dataclass(frozen=True)
class Transitions:
    """Successive sessions of a user by their themes; 1 is none. Of ``of_users``, a share of the users."""

    pairs: list[dict[str, Any]] = field(default_factory=list)  # source, target, n
    of_users: float = 1.0


def measure(tables: Snapshot) -> Transitions:
    """One sort by user and order, of the sessions of users whose hash is small where there are many."""
    if not tables.has("silver/sessions"):
        return Transitions()
    _, _, rows = tables.size("silver/sessions")
    part = min(1.0, MOST_SESSIONS / max(rows, 1))
    some = f"WHERE md5(user_id) < '{int(part * 16**8):08x}'" if part < 1 else ""
    pairs = tables.query(
        "WITH s AS (SELECT theme_id AS target, "
        f"lag(theme_id) OVER (PARTITION BY user_id ORDER BY ordinal) AS source FROM sessions {some}) "
        "SELECT source, target, count(*) AS n FROM s WHERE source IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
    )
    return Transitions(pairs, part)


def section(found: Transitions, themes: Themes) -> Section:
    """The matrix and its strongest moves."""
    title = "From theme to theme"
    known = [row for row in found.pairs if row["source"] > 1 and row["target"] > 1]
    if not known:
        return Section("transitions", title, "No user has two sessions in a row with a theme.")
    total = sum(row["n"] for row in known)
    stayed = sum(row["n"] for row in known if row["source"] == row["target"])
    whose = f" ({share(found.of_users)} of the users)" if found.of_users < 1 else ""
    lead = (
        f"Of {count(total)} pairs of successive sessions with a theme{whose}, {share(stayed, total)} stay in "
        "theirs; the others go on to another."
    )
    return Section("transitions", title, lead, [grid(_matrix(known, themes))])


def _matrix(known: list[dict[str, Any]], themes: Themes) -> Html:
    largest = [one.theme_id for one in themes.themes[:SHOWN]]
    labels = {theme: str(theme) for theme in largest}
    sums: dict[tuple[str, str], int] = {}
    rows_of: dict[str, int] = {}
    into: dict[str, int] = {}
    for row in known:
        source, target = labels.get(row["source"], OTHERS), labels.get(row["target"], OTHERS)
        sums[source, target] = sums.get((source, target), 0) + row["n"]
        rows_of[source] = rows_of.get(source, 0) + row["n"]
        into[target] = into.get(target, 0) + row["n"]
    total = sum(rows_of.values())
    names = {label: themes.name(theme) for theme, label in labels.items()} | {OTHERS: OTHERS}
    cells: list[dict[str, Any]] = [
        {
            "source": source,
            "target": target,
            "share": n / rows_of[source],
            "said": f"{share(n, rows_of[source])} ({count(n)} of {count(rows_of[source])})",
            "lift": f"{n / rows_of[source] / (into[target] / total):.1f} times",
            "from": names[source],
            "to": names[target],
        }
        for (source, target), n in sorted(sums.items())
    ]
    order = [*labels.values(), OTHERS]
    moves = [
        cell
        for cell in cells
        if cell["source"] != cell["target"] and OTHERS not in (cell["source"], cell["target"])
    ]
    finding = "No move between the largest themes was seen."
    if moves:
        top = max(moves, key=lambda cell: (cell["share"], cell["source"]))
        part = share(top["share"])
        finding = (
            f"The strongest move leads from {top['from']} to {top['to']}: {part} of its next sessions, "
            f"{top['lift']} what the themes' sizes alone would give."
        )
    encoding = {
        "x": axis(
            "target",
            "Theme of the next session (id)",
            "nominal",
            sort=order,
            labelAngle=0,
            labelOverlap="greedy",
        ),
        "y": axis("source", "Theme of a session (id)", "nominal", sort=order, domain=False),
        "fillOpacity": {
            "field": "share",
            "type": "quantitative",
            "scale": {"type": "sqrt", "range": [0.03, 1]},
            "legend": None,
        },
        "tooltip": [
            tip("from", "From"),
            tip("to", "To"),
            tip("said", "Of the row"),
            tip("lift", "Against chance"),
        ],
    }
    spec = chart(cells, layer("rect", "c1", encoding=encoding), height=20 * len(rows_of))
    numbers = Numbers(
        ["From", "To", "Share of the row", "Against chance"],
        [[cell["from"], cell["to"], cell["said"], cell["lift"]] for cell in cells],
        (2, 3),
    )
    note = "A row sums to 100 %; the stronger the colour, the larger the share. The diagonal is staying."
    return figure(
        "theme-transitions",
        "Next theme, given this one",
        finding,
        spec,
        numbers=numbers,
        note=note,
        wide=True,
    )
