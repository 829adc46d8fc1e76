"""Vega-Lite specifications of the kinds of pictures that reports use, as plain mappings.

Colours are names of the palette. ``axis`` gives a place on a picture its title with a unit; ``check_axes``
refuses a picture without. Tooltips name what they show, since the keyboard reads them out too.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from features.page.colours import SERIES, colour

ENCODING_KEYS: Final = ("sort", "scale", "bin", "stack", "timeUnit")

Spec = dict[str, Any]
Row = Mapping[str, Any]

FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

CONFIG: Final[Spec] = {
    "background": "transparent",
    "font": FONT,
    "padding": 4,
    "view": {"stroke": None},
    "axis": {
        "domainColor": colour("axis"),
        "tickColor": colour("axis"),
        "gridColor": colour("line"),
        "labelColor": colour("soft"),
        "titleColor": colour("soft"),
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "labelLimit": 150,
        "tickSize": 4,
    },
    "axisX": {"grid": False},
    "axisY": {"domain": False, "ticks": False, "labelPadding": 6},
    "legend": {
        "labelColor": colour("soft"),
        "titleColor": colour("soft"),
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "orient": "top",
        "symbolStrokeWidth": 2,
        "columns": 3,
    },
    "header": {"labelColor": colour("soft"), "titleColor": colour("soft")},
    "range": {"category": [colour(name) for name in SERIES]},
    "mark": {"color": colour("c1")},
    "text": {"fill": colour("ink"), "fontSize": 12},
    "rule": {"stroke": colour("axis")},
}
"""How every picture looks; colours are CSS variables, so one drawing serves light and dark."""


def axis(field: str, title: str, kind: str = "quantitative", **more: Any) -> Spec:
    """An encoding of ``field`` with its axis title; name the unit: ``"gap (minutes)"``.

    ``kind`` is Vega-Lite's type. ``format``, ``labelExpr``, ``values`` and the like go to the axis; ``sort``,
    ``scale``, ``bin``, ``stack`` and ``timeUnit`` stay with the encoding.
    """
    if not title:
        raise ValueError(f"the axis of {field} needs a title with its unit")
    own: Spec = {key: more.pop(key) for key in ENCODING_KEYS if key in more}
    if str(more.get("format", "")).endswith("s"):
        more.setdefault("labelExpr", "datum.value === 0 ? '0' : datum.label")
    return {"field": field, "type": kind, "title": title, **own, **({"axis": more} if more else {})}


def tip(field: str, title: str, kind: str = "nominal", form: str | None = None) -> Spec:
    """One line of a tooltip."""
    return {"field": field, "title": title, "type": kind} | ({"format": form} if form else {})


def chart(rows: Sequence[Row], *layers: Spec, height: int | Spec = 220, **more: Any) -> Spec:
    """A picture as wide as its place on the page: layers over the same rows, drawn in order.

    ``more`` holds what all layers share, such as ``encoding`` and ``transform``.
    """
    return {
        "data": {"values": [dict(row) for row in rows]},
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        **more,
        "layer": [*layers],
    }


def layer(mark: str, color: str | None = None, /, *, encoding: Spec | None = None, **more: Any) -> Spec:
    """A mark of one colour with its own encodings; ``rows`` gives it rows of its own."""
    outer: Spec = {key: more.pop(key) for key in ("transform", "params", "name") if key in more}
    rows = more.pop("rows", None)
    made: Spec = {"mark": {"type": mark, **({"color": colour(color)} if color else {}), **more}, **outer}
    if rows is not None:
        made["data"] = {"values": [dict(row) for row in rows]}
    return made | {"encoding": encoding or {}}


def check_axes(spec: Mapping[str, Any]) -> None:
    """ValueError where x or y has no axis title, neither its own nor one of another layer."""
    for channel in ("x", "y"):
        found = [encoding[channel] for encoding in _encodings(spec) if channel in encoding]
        titled = [one for one in found if one.get("title")]
        if found and not titled and not all(one.get("axis", 1) is None or "value" in one for one in found):
            raise ValueError(f"a picture has no title on its {channel} axis: {found[0]}")


def _encodings(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield spec.get("encoding", {})
    for key in ("layer", "hconcat", "vconcat", "concat"):
        for inner in spec.get(key, ()):
            yield from _encodings(inner)
    if "spec" in spec:
        yield from _encodings(spec["spec"])
