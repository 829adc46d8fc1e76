"""Is hopping real in this data? The evidence against its nulls, and the p-values of the test."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from features.page.amounts import count, number, share
from features.page.charts import axis, chart, layer, tip
from features.page.colours import colour
from features.page.figure import Numbers, figure
from features.page.html import Html
from features.page.shell import Section, grid
from pipelines.report.facts import Facts
from pipelines.report.snapshot import Snapshot

STEPS: Final = 20

KINDS: Final = {"categories": "by categories", "vectors": "by item vectors"}

ROWS: Final = (
    ("within", "inside a session"),
    ("redealt_within", "inside, events dealt anew"),
    ("adjacent", "one session to the next"),
    ("shuffled_order", "next, sessions shuffled"),
    ("redealt_adjacent", "next, events dealt anew"),
    ("random_users", "sessions of two users"),
)
"""Keys of ``features.evidence.hopping_evidence`` and how the picture names them, in its order."""


@dataclass(frozen=True)
class Hopping:
    """Decided boundaries by p-value, in bins of 1 / ``STEPS``."""

    p_values: dict[int, int] = field(default_factory=dict)  # bin -> sessions
    alpha: float = 0.1


def measure(tables: Snapshot, config: Mapping[str, Any]) -> Hopping:
    """One aggregate of ``silver/sessions``."""
    alpha = config.get("hops", {}).get("alpha", 0.1)
    if not tables.has("silver/sessions"):
        return Hopping(alpha=alpha)
    found = tables.query(
        f"SELECT least({STEPS - 1}, CAST(floor(hop_p * {STEPS}) AS INT)) AS bin, count(*) AS n "
        "FROM sessions WHERE is_hop IS NOT NULL GROUP BY 1 ORDER BY 1"
    )
    return Hopping({row["bin"]: row["n"] for row in found}, alpha)


def section(facts: Facts, found: Hopping, hops: int) -> Section:
    """The comparison and the p-values."""
    pictures = [_evidence(facts), _matched(facts), _p_values(found, hops)]
    return Section("hopping", "Is hopping real here?", _lead(facts), [grid(*pictures)])


def _lead(facts: Facts) -> str:
    falls = {
        named: part
        for kind, named in KINDS.items()
        if (part := ((_kind(facts, kind) or {}).get("matched") or {}).get("difference"))
    }
    if not falls:
        return "No run has measured enough sessions to tell."
    told = " and ".join(f"{_interval(part)} {named}" for named, part in falls.items())
    proven = [named for named, part in falls.items() if part["low"] > 0]
    word = "No: it cannot be told from chance"
    if proven:
        word = "Yes" if len(proven) == len(falls) else f"Yes {proven[0]}, but not by the other measure"
    return (
        f"{word}. From one session to the next, similarity is lower than inside a session by {told}, between "
        "windows of the same sizes (95 % intervals)."
    )


def _kind(facts: Facts, kind: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = (facts.evidence or {}).get(kind)
    return found


def _evidence(facts: Facts) -> Html:
    title = "How alike are two groups of events?"
    rows = [
        {"pair": label, "kind": named, **found, "said": _interval(found), "pairs": count(found["pairs"])}
        for kind, named in KINDS.items()
        for key, label in ROWS
        if (found := (_kind(facts, kind) or {}).get(key))
    ]
    if not rows:
        return figure("hopping-evidence", title, "No run has measured this yet.", None, wide=True)
    encoding = {
        "y": axis("pair", "Groups compared", "nominal", sort=None, labelLimit=190, grid=True),
        "yOffset": {"field": "kind", "type": "nominal", "sort": list(KINDS.values())},
        "color": _kind_colours(),
        "tooltip": [
            tip("pair", "Compared"),
            tip("kind", "Measured"),
            tip("said", "Mean cosine (95 % interval)"),
            tip("pairs", "Pairs"),
        ],
    }
    x = axis(
        "mean",
        "Mean cosine similarity (0 to 1)",
        scale={"domain": [0, 1]},
        tickCount=5,
    )
    spec = _intervals(rows, x, encoding, 19)
    sample = facts.evidence or {}
    note = (
        f"Means with 95 % intervals over users, from a sample of {count(sample.get('users', 0))} users with "
        f"{count(sample.get('sessions', 0))} sessions (run {facts.evidence_run}). Dealt anew: each user's "
        "events in random order in sessions of the same sizes, which is what taste alone would give."
    )
    numbers = Numbers(
        ["Groups", "Measured", "Mean cosine (95 % interval)", "Pairs (count)"],
        [[row["pair"], row["kind"], row["said"], row["pairs"]] for row in rows],
        (2, 3),
    )
    return figure("hopping-evidence", title, _told(facts), spec, numbers=numbers, note=note, wide=True)


def _intervals(
    rows: list[dict[str, Any]], x: dict[str, Any], encoding: dict[str, Any], row_height: int
) -> dict[str, Any]:
    """A point for each row's mean and a line from ``low`` to ``high``."""
    return chart(
        rows,
        layer("rule", encoding={"x": {**x, "field": "low"}, "x2": {"field": "high"}}, strokeWidth=2),
        layer("point", encoding={"x": x}, filled=True, size=70, opacity=1),
        height=row_height * len(rows),
        encoding=encoding,
    )


def _told(facts: Facts) -> str:
    parts = []
    for kind, named in KINDS.items():
        found = _kind(facts, kind) or {}
        inside, beside = found.get("within"), found.get("adjacent")
        if inside and beside:
            parts.append(
                f"{number(inside['mean'])} {named} (one session and the next: {number(beside['mean'])})"
            )
    if not parts:
        return "Too few sessions to compare."
    return f"Two halves of a session are alike by {' and '.join(parts)}."


def _matched(facts: Facts) -> Html:
    title = "The same, for windows of the same sizes"
    rows = [
        {"place": label, "kind": named, **part, "said": _interval(part)}
        for kind, named in KINDS.items()
        for key, label in (("inside", "inside a session"), ("boundary", "over a boundary"))
        if (part := ((_kind(facts, kind) or {}).get("matched") or {}).get(key))
    ]
    if not rows:
        return figure("hopping-matched", title, "Too few windows inside sessions to compare.", None)
    parts = {kind: ((_kind(facts, kind) or {}).get("matched") or {}).get("difference") for kind in KINDS}
    told = [f"{_interval(part)} {KINDS[kind]}" for kind, part in parts.items() if part]
    finding = f"A boundary costs {' and '.join(told)} of similarity, whatever the sizes of its sides."
    x = axis("mean", "Mean cosine similarity", scale={"domain": [0, 1]}, tickCount=5)
    encoding = {
        "y": axis("place", "Windows of events", "nominal", sort=None, grid=True),
        "yOffset": {"field": "kind", "type": "nominal", "sort": list(KINDS.values())},
        "color": _kind_colours(),
        "tooltip": [
            tip("place", "Windows"),
            tip("kind", "Measured"),
            tip("said", "Mean cosine (95 % interval)"),
        ],
    }
    spec = _intervals(rows, x, encoding, 26)
    numbers = Numbers(
        ["Windows", "Measured", "Mean cosine (95 % interval)"],
        [[row["place"], row["kind"], row["said"]] for row in rows],
        (2,),
    )
    return figure("hopping-matched", title, finding, spec, numbers=numbers)


def _p_values(found: Hopping, hops: int) -> Html:
    title = "p-values of the hop test"
    total = sum(found.p_values.values())
    if not total:
        return figure("hopping-p", title, "No session is decided.", None)
    rows = [
        {
            "low": at / STEPS,
            "high": (at + 1) / STEPS,
            "zero": 0,
            "share": n / total,
            "hop": "hop" if (at + 1) / STEPS <= found.alpha + 1e-9 else "no hop",
            "range": f"{at / STEPS:.2f} to {(at + 1) / STEPS:.2f}",
            "said": f"{count(n)} ({share(n, total)})",
        }
        for at, n in found.p_values.items()
    ]
    finding = (
        f"{share(hops, total)} of {count(total)} decided sessions have p ≤ {found.alpha:g} and are hops; "
        f"without hopping it would be {share(found.alpha)}."
    )
    encoding = {
        "x": axis("low", "p-value of the hop test", scale={"domain": [0, 1]}, tickCount=5),
        "x2": {"field": "high"},
        "y": axis("share", "Decided sessions (share)", format="~%", tickCount=4),
        "y2": {"field": "zero"},
        "color": {
            "field": "hop",
            "type": "nominal",
            "title": None,
            "scale": {"domain": ["hop", "no hop"], "range": [colour("c2"), colour("c1")]},
        },
        "tooltip": [tip("range", "p-value"), tip("said", "Sessions"), tip("hop", "Verdict")],
    }
    chance = layer(
        "rule",
        "ink",
        rows=[{"chance": 1 / STEPS, "said": "what chance alone gives in each bar"}],
        encoding={
            "y": {"field": "chance", "type": "quantitative", "title": "Decided sessions (share)"},
            "tooltip": [tip("said", "Dashed")],
        },
        strokeDash=[4, 3],
    )
    bars = layer("rect", encoding=encoding, stroke="var(--page)", strokeWidth=1)
    numbers = Numbers(["p-value", "Sessions"], [[row["range"], row["said"]] for row in rows], (1,))
    note = "Dashed: what chance alone would give in each bar."
    return figure("hopping-p", title, finding, chart(rows, bars, chance), numbers=numbers, note=note)


def _kind_colours() -> dict[str, Any]:
    return {
        "field": "kind",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(KINDS.values()), "range": [colour("c1"), colour("c2")]},
        "legend": {"columns": 1},
    }


def _interval(found: Mapping[str, Any]) -> str:
    return f"{number(found['mean'])} ({number(found['low'])} to {number(found['high'])})"
