"""Kinds of pictures that several sections use."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from features.page.amounts import count, duration, share
from features.page.charts import Spec, axis, chart, layer, tip
from features.page.figure import Numbers, figure
from features.page.html import Child, Html

TIMES: Final = (1, 10, 60, 600, 3_600, 21_600, 86_400, 604_800, 2_592_000, 31_536_000)
"""Where an axis of durations has its labels, in seconds."""


class Bar(NamedTuple):
    """A bar with its label and what is written at its end."""

    label: str
    value: float
    said: str
    more: str = ""  # in the tooltip and the table only


def across(
    identifier: str,
    title: str,
    finding: str,
    bars: Sequence[Bar],
    titles: tuple[str, str],
    *,
    wide: bool = False,
    note: Child = None,
) -> Html:
    """Horizontal bars with their values written at the end; ``titles`` are those of labels and values."""
    if not bars:
        return figure(identifier, title, finding, None, note=note, wide=wide)
    labels, unit = titles
    rows = [bar._asdict() | {"all": _all(bar)} for bar in bars]
    most = max([bar.value for bar in bars if bar.value] or [1])
    room = 1 / (1 - min(0.6, (12 + 6.5 * max(len(bar.said) for bar in bars)) / 260))
    encoding = {
        "x": axis("value", unit, tickCount=4, grid=True, format="~s", scale={"domain": [0, room * most]}),
        "y": axis("label", labels, "nominal", sort=None, domain=False, ticks=False),
        "tooltip": [tip("label", labels), tip("all", unit)],
    }
    spec = chart(
        rows,
        layer("bar", "c1", cornerRadiusEnd=2, height={"band": 0.62}),
        layer("text", "ink", encoding={"text": {"field": "said"}, "tooltip": None}, align="left", dx=5),
        height=28 * len(bars),
        encoding=encoding,
    )
    numbers = Numbers([labels, unit], [[bar.label, _all(bar)] for bar in bars], (1,))
    return figure(identifier, title, finding, spec, numbers=numbers, note=note, wide=wide)


def _all(bar: Bar) -> str:
    return f"{bar.said}, {bar.more}" if bar.more else bar.said


def columns(
    identifier: str,
    title: str,
    finding: str,
    bars: Sequence[Bar],
    titles: tuple[str, str],
    *,
    form: str = "~s",
    note: Child = None,
) -> Html:
    """Upright bars in the order given, of shares (``form="~%"``) or counts."""
    if not bars:
        return figure(identifier, title, finding, None, note=note)
    labels, unit = titles
    encoding = {
        "x": axis("label", labels, "nominal", sort=None, labelAngle=0, labelOverlap="greedy"),
        "y": axis("value", unit, format=form, tickCount=4),
        "tooltip": [tip("label", labels), tip("said", unit)],
    }
    spec = chart([bar._asdict() for bar in bars], layer("bar", "c1", cornerRadiusEnd=2), encoding=encoding)
    numbers = Numbers([labels, unit], [[bar.label, bar.said] for bar in bars], (1,))
    return figure(identifier, title, finding, spec, numbers=numbers, note=note)


class Bin(NamedTuple):
    """How many values lie from ``low`` (included) to ``high`` seconds."""

    low: float
    high: float
    n: int


def durations(
    identifier: str,
    title: str,
    finding: str,
    bins: Sequence[Bin],
    titles: tuple[str, str],
    *,
    limit: float | None = None,
    note: Child = None,
) -> Html:
    """A histogram of durations on a log axis, ``limit`` (seconds) marked; zeros stand below one second."""
    total = sum(one.n for one in bins)
    if not total:
        return figure(identifier, title, finding, None, note=note)
    name, unit = titles
    rows: list[dict[str, Any]] = [
        {
            "low": max(one.low, 0.6),
            "high": one.high,
            "share": one.n / total,
            "zero": 0,
            "range": _range(one),
            "said": f"{count(one.n)} ({share(one.n, total)})",
        }
        for one in bins
        if one.n
    ]
    scale = {"type": "log", "domain": [0.6, max(row["high"] for row in rows)], "nice": False}
    encoding = {
        "x": axis("low", name, scale=scale, values=list(TIMES), labelExpr=_TIME_LABELS, labelOverlap=True),
        "x2": {"field": "high"},
        "y": axis("share", unit, format="~%", tickCount=4),
        "y2": {"field": "zero"},
        "tooltip": [tip("range", name), tip("said", unit)],
    }
    layers = [layer("rect", "c1", encoding=encoding, stroke="var(--page)", strokeWidth=1)]
    if limit is not None:
        layers += _mark(limit, f"limit {duration(limit)}", name)
    numbers = Numbers([name, unit], [[row["range"], row["said"]] for row in rows], (1,))
    return figure(identifier, title, finding, chart(rows, *layers), numbers=numbers, note=note)


def _mark(at: float, text: str, name: str) -> list[Spec]:
    rows = [{"at": at, "text": text}]
    x: dict[str, Any] = {"field": "at", "type": "quantitative", "title": name}
    return [
        layer("rule", "c2", rows=rows, encoding={"x": x}, strokeWidth=2),
        layer(
            "text",
            "c2",
            rows=rows,
            encoding={"x": x, "y": {"value": 0}, "text": {"field": "text"}},
            align="left",
            dx=6,
            dy=4,
            fontWeight="bold",
        ),
    ]


def _range(one: Bin) -> str:
    if one.high <= 1:
        return "below 1 s"
    return f"{duration(one.low)} to {duration(one.high)}"


_TIME_LABELS: Final = (
    "datum.value < 60 ? datum.value + ' s' : datum.value < 3600 ? datum.value / 60 + ' min' : "
    "datum.value < 86400 ? datum.value / 3600 + ' h' : "
    "datum.value < 31536000 ? datum.value / 86400 + ' d' : '1 y'"
)
