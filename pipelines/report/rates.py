"""How often users hop and return, by how active they are, and how long they stay away from a theme."""

from dataclasses import dataclass, field
from typing import Any, Final

from features.page.amounts import count, share
from features.page.charts import axis, chart, layer, tip
from features.page.colours import colour
from features.page.figure import Numbers, figure
from features.page.html import Html
from features.page.shell import Section, grid
from pipelines.report.pictures import Bar, columns
from pipelines.report.snapshot import Snapshot

BANDS: Final = ((2, 2), (3, 4), (5, 8), (9, 16), (17, 32), (33, 64), (65, None))
"""Bands of sessions a user has; with one session nothing can hop."""

LAGS: Final = 20
"""Return lags from here on share a bar."""


@dataclass(frozen=True)
class Rates:
    """Sums over users of a band of activity, and returns by lag."""

    bands: list[dict[str, Any]] = field(default_factory=list)  # band, users, sessions, decided, hops, returns
    lags: dict[int, int] = field(default_factory=dict)
    one_session: int = 0  # users with one session


def measure(tables: Snapshot) -> Rates:
    """Sessions grouped by user, then users grouped by band."""
    if not tables.has("silver/sessions"):
        return Rates()
    cases = " ".join(
        f"WHEN sessions >= {low} {f'AND sessions <= {high}' if high else ''} THEN {at}"
        for at, (low, high) in enumerate(BANDS)
    )
    found = tables.query(
        "WITH u AS (SELECT user_id, count(*) AS sessions, count(is_hop) AS decided, "
        "count(*) FILTER (WHERE is_hop) AS hops, count(*) FILTER (WHERE is_return) AS returns "
        f"FROM sessions GROUP BY user_id) SELECT CASE {cases} ELSE -1 END AS band, count(*) AS users, "
        "sum(sessions) AS sessions, sum(decided) AS decided, sum(hops) AS hops, sum(returns) AS returns "
        "FROM u GROUP BY 1 ORDER BY 1"
    )
    lags = tables.query(
        "SELECT return_lag AS lag, count(*) AS n FROM sessions WHERE is_return GROUP BY 1 ORDER BY 1"
    )
    bands = [row | {"band": band_name(*BANDS[row["band"]])} for row in found if row["band"] >= 0]
    alone = sum(row["users"] for row in found if row["band"] < 0)
    return Rates(bands, {row["lag"]: row["n"] for row in lags}, alone)


def band_name(low: int, high: int | None) -> str:
    """How a band is written.

    >>> band_name(3, 4), band_name(65, None)
    ('3–4', '65+')
    """
    return f"{low}+" if high is None else str(low) if low == high else f"{low}–{high}"


def section(found: Rates) -> Section:
    """Rates by activity, and lags."""
    users = sum(row["users"] for row in found.bands)
    if not users:
        return Section("rates", "Hops and returns", "No user has two sessions, so nothing can hop or return.")
    lead = "A hop is a session that moved to another interest; a return is a hop back to an earlier theme."
    if found.one_session:
        lead += f" {count(found.one_session)} users have one session and are left out."
    return Section("rates", "Hops and returns", lead, [grid(_by_activity(found), _lags(found))])


def _by_activity(found: Rates) -> Html:
    rows: list[dict[str, Any]] = []
    for row in found.bands:
        for name, part, whole in (
            ("hops, of decided sessions", row["hops"], row["decided"]),
            ("returns, of hops", row["returns"], row["hops"]),
        ):
            if whole:
                said = f"{share(part, whole)} ({count(part)} of {count(whole)})"
                rows.append({"band": row["band"], "rate": part / whole, "what": name, "said": said})
                rows[-1]["users"] = count(row["users"])
    title = "Hop and return rates by activity"
    if not rows:
        return figure("rates-activity", title, "No session is decided.", None)
    hops = [row for row in rows if row["what"].startswith("hops")]
    finding = (
        f"Users with {hops[0]['band']} sessions hop in {share(hops[0]['rate'])} of the decided ones, "
        f"users with {hops[-1]['band']} in {share(hops[-1]['rate'])}."
    )
    if len(hops) == 1:
        finding = (
            f"Users with {hops[0]['band']} sessions hop in {share(hops[0]['rate'])} of the decided ones."
        )
    names = list(dict.fromkeys(row["what"] for row in rows))
    encoding = {
        "x": axis("band", "Sessions of a user (count)", "ordinal", sort=None, labelAngle=0),
        "y": axis("rate", "Rate (share)", format="~%", tickCount=4, scale={"domainMin": 0}),
        "color": {
            "field": "what",
            "type": "nominal",
            "title": None,
            "scale": {"domain": names, "range": [colour("c2"), colour("c3")][: len(names)]},
        },
        "shape": {"field": "what", "type": "nominal", "title": None, "scale": {"domain": names}},
    }
    told = [
        tip("band", "Sessions of a user"),
        tip("what", "Rate"),
        tip("said", "Share"),
        tip("users", "Users"),
    ]
    spec = chart(
        rows,
        layer("line"),
        layer("point", encoding={"tooltip": told}, filled=True, size=60, opacity=1),
        encoding=encoding,
    )
    numbers = Numbers(
        ["Sessions of a user", "Rate", "Share", "Users (count)"],
        [[row["band"], row["what"], row["said"], row["users"]] for row in rows],
        (2, 3),
    )
    return figure("rates-activity", title, finding, spec, numbers=numbers)


def _lags(found: Rates) -> Html:
    title = "Return lags"
    total = sum(found.lags.values())
    if not total:
        return figure("rates-lags", title, "No user has returned to a theme.", None)
    seen, middle = 0, 0
    for lag, n in found.lags.items():
        seen, middle = seen + n, lag
        if seen >= total / 2:
            break
    nearest = found.lags.get(1, 0)
    finding = (
        f"Half of the {count(total)} returns come after at most {middle} "
        f"{'session' if middle == 1 else 'sessions'} elsewhere; {share(nearest, total)} come after one."
    )
    last = max(found.lags)
    lags = range(1, min(last, LAGS) + 1)
    counts = {str(lag): found.lags.get(lag, 0) for lag in lags}
    if last > LAGS:
        counts.pop(str(LAGS))
        counts[f"{LAGS}+"] = sum(n for lag, n in found.lags.items() if lag >= LAGS)
    bars = [Bar(lag, n, f"{count(n)} ({share(n, total)})") for lag, n in counts.items()]
    titles = ("Sessions since the theme was left (count)", "Returns (count)")
    return columns("rates-lags", title, finding, bars, titles)
