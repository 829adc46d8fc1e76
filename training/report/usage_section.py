"""Which experts and themes carry weight: shares of the answers by slice, and the heaviest themes."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from features.page.amounts import count
from features.page.charts import axis, chart, layer, tip
from features.page.colours import SERIES, colour
from features.page.figure import Numbers, figure
from features.page.html import Child, Html
from features.page.shell import Section, grid
from training.evaluate.report import label
from training.report.names import Names
from training.report.usage import Usage

SLICES: Final = ("all", "first_of_session", "first_after_return", "within_session", "hopping", "not_hopping")
TOP: Final = 12


def used(found: Sequence[tuple[Usage, Names]], identifier: str = "usage") -> Section | None:
    """Every model that has parts; None where none has."""
    if not found:
        return None
    lead = (
        "What answers rest on, over a sample of the test's targets. The weights of one answer add up to "
        "100 %; of a model without weights, what its prediction loses when a strand is silenced."
    )
    figures: list[Child] = []
    for at, (one, names) in enumerate(found):
        figures.append(_parts(one, f"{identifier}-{at}"))
        if one.keys:
            figures.append(_keys(one, names, f"{identifier}-{at}-keys"))
    return Section(identifier, "Strands and experts", lead, [grid(*figures)])


def _parts(one: Usage, identifier: str) -> Html:
    shown = [part for part in SLICES if one.targets(part)]
    rows = [row for part in shown for row in _rows(one, part)]
    title = "Weight in answers" if one.are_shares else "Log-probability lost without it"
    unit = f"{title} ({'share' if one.are_shares else 'nats a target'})"
    form: dict[str, Any] = {"format": ".0%", "scale": {"domain": [0, 1]}} if one.are_shares else {}
    stack: Any = "zero" if one.are_shares else None
    shared: dict[str, Any] = {
        "y": axis("slice", "Targets (slice)", "nominal", sort=[label(part) for part in shown], labelLimit=150)
    }
    if not one.are_shares:
        shared["yOffset"] = {"field": "part", "type": "nominal", "sort": list(one.parts)}
    hues = [colour(SERIES[at % len(SERIES)]) for at in range(len(one.parts))]
    spec = chart(
        rows,
        layer(
            "bar",
            encoding={
                **shared,
                "x": axis("value", unit, stack=stack, **form),
                "color": {
                    "field": "part",
                    "type": "nominal",
                    "title": "Expert" if one.are_shares else "Strand",
                    "sort": list(one.parts),
                    "scale": {"domain": list(one.parts), "range": hues},
                    "legend": {"columns": 2},
                },
                "order": {"field": "place", "type": "quantitative"},
                "tooltip": [
                    tip("part", "Part"),
                    tip("slice", "Targets"),
                    tip("shown", title),
                    tip("targets", "Sampled"),
                ],
            },
        ),
        height=len(shown) * (28 if one.are_shares else 12 * len(one.parts)),
    )
    numbers = Numbers(
        ["Slice", "Sampled", *one.parts],
        [
            [
                label(part),
                count(one.targets(part)),
                *(row["shown"] for row in rows if row["slice"] == label(part)),
            ]
            for part in shown
        ],
        range(1, 2 + len(one.parts)),
    )
    return figure(identifier, f"{one.model}: what answers rest on", _finding(one), spec, numbers=numbers)


def _rows(one: Usage, part: str) -> list[dict[str, Any]]:
    mean = one.mean(part)
    assert mean is not None
    form = "{:.1%}" if one.are_shares else "{:+.4f}"
    return [
        {
            "slice": label(part),
            "part": name,
            "place": at,
            "value": float(value),
            "shown": form.format(value),
            "targets": count(one.targets(part)),
        }
        for at, (name, value) in enumerate(zip(one.parts, mean, strict=True))
    ]


def _finding(one: Usage) -> str:
    mean = one.mean()
    assert mean is not None
    best = int(np.argmax(mean))
    if not one.are_shares:
        total = float(np.maximum(mean, 0).sum())
        least = int(np.argmin(mean))
        if total <= 0:
            return f"{one.model} loses nothing without any one of its strands: they stand in for each other."
        return (
            f"Silencing {one.parts[best]} costs {one.model} most, {mean[best]:.3f} nats a target; "
            f"{one.parts[least]} costs least, {mean[least]:.3f}."
        )
    back = one.mean("first_after_return")
    text = f"{one.model}'s answers rest most on “{one.parts[best]}”, {mean[best]:.1%} of their weight"
    if back is None:
        return f"{text}."
    kind = "categories" if "categor" in one.parts[-1] else "themes"
    keyed = [at for at, name in enumerate(one.parts) if name.endswith(("theme", "category", "categories"))]
    return (
        f"{text}; {kind} carry {mean[keyed].sum():.1%} over all targets and "
        f"{back[keyed].sum():.1%} after a return."
    )


def _keys(one: Usage, names: Names, identifier: str) -> Html:
    heaviest = sorted(one.keys.items(), key=lambda pair: (-pair[1], pair[0]))
    rows: list[dict[str, Any]] = [
        {"name": names.key(*key), "share": share, "shown": f"{share:.2%}"} for key, share in heaviest[:TOP]
    ]
    kind = "categories" if heaviest[0][0][0] == "category" else "themes"
    spec = chart(
        rows,
        layer(
            "bar",
            "c1",
            cornerRadiusEnd=2,
            encoding={
                "y": axis(
                    "name",
                    "Category (id)" if kind == "categories" else "Theme (id and top categories)",
                    "nominal",
                    sort=None,
                    labelLimit=200,
                ),
                "x": axis("share", "Weight in answers (share)", format=".1%", tickCount=5),
                "tooltip": [tip("name", "Name"), tip("shown", "Share")],
            },
        ),
        height=20 * len(rows) + 10,
    )
    total = sum(one.keys.values())
    first = sum(row["share"] for row in rows[:5])
    finding = (
        f"{len(one.keys)} {kind} share {total:.1%} of {one.model}'s weight; the five heaviest have "
        f"{first / total:.0%} of that, {rows[0]['name']} the most."
    )
    shown = [[row["name"], row["shown"]] for row in rows]
    return figure(
        identifier,
        f"{one.model}: heaviest {kind}",
        finding,
        spec,
        numbers=Numbers(["Name", "Mean share"], shown, [1]),
    )
