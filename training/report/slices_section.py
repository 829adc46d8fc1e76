"""Where in a journey each model finds what comes next: its metric slice by slice, with intervals."""

from collections.abc import Sequence
from typing import Any

from features.page.amounts import count
from features.page.charts import axis, chart, layer, tip
from features.page.figure import Numbers, figure
from features.page.html import Html
from features.page.shell import Section
from training.evaluate.report import label
from training.evaluate.slices import PRIMARY, SLICES
from training.report.entry import Contest, metric_name


def slices(contest: Contest, identifier: str = "slices", parts: Sequence[str] | None = None) -> Section:
    """One picture of all models by slices, or by some ``parts`` of them."""
    lead = (
        "A target is the event that the model is asked for. Slices overlap: a first event of a session may "
        "also follow a return."
    )
    return Section(identifier, "Slices", lead, [_picture(contest, identifier, parts or contest.slices)])


def _picture(contest: Contest, identifier: str, parts: Sequence[str]) -> Html:
    rows = [row for part in parts for row in _rows(contest, part)]
    name = metric_name(contest.metric)
    shared: dict[str, Any] = {
        "y": axis(
            "slice",
            "Targets (slice)",
            "nominal",
            sort=[label(part) for part in parts],
            labelLimit=200,
        ),
        "yOffset": {"field": "model", "type": "nominal", "sort": [entry.label for entry in contest.drawn]},
        "color": contest.hues,
    }
    x = f"{name} (mean, 95 % interval)"
    tips = [
        tip("model", "Model"),
        tip("slice", "Targets"),
        tip("shown", name),
        tip("targets", "Number of targets"),
    ]
    spec = chart(
        rows,
        layer("rule", strokeWidth=2, encoding={**shared, "x": axis("low", x), "x2": {"field": "high"}}),
        layer(
            "point",
            filled=True,
            size=55,
            opacity=1,
            encoding={
                **shared,
                "x": axis("value", x, scale={"zero": True}, tickCount=8),
                "shape": {"field": "model", "type": "nominal", "legend": None, "sort": None},
                "tooltip": tips,
            },
        ),
        height=len(parts) * max(26, 11 * len(contest.drawn)),
    )
    numbers = Numbers(
        ["Slice", "Model", name, "95 % interval", "Targets a seed"],
        [
            [row["slice"], row["model"], f"{row['value']:.4f}", row["interval"], row["targets"]]
            for row in rows
        ],
        [2, 4],
    )
    return figure(
        f"{identifier}-figure", f"{name} by slice", _finding(contest, rows), spec, numbers=numbers, wide=True
    )


def _rows(contest: Contest, part: str) -> list[dict[str, Any]]:
    found = []
    for entry in contest.drawn:
        value = entry.spread(contest.metric, part)
        if value is None:
            continue
        frame = next(iter(entry.frames.values()))
        interval = f"[{value.low:.4f}, {value.high:.4f}]"
        found.append(
            {
                "slice": label(part),
                "model": entry.label,
                "value": value.estimate,
                "low": value.low,
                "high": value.high,
                "interval": interval,
                "shown": f"{value.estimate:.4f} {interval}",
                "targets": count(SLICES[part](frame).sum()),
            }
        )
    return found


def _finding(contest: Contest, rows: list[dict[str, Any]]) -> str:
    """How much harder returns are than going on within a session, for the first model."""
    first = contest.entries[0].label
    own = {row["slice"]: row for row in rows if row["model"] == first}
    hard, easy = own.get(label(PRIMARY)), own.get(label("within_session"))
    if hard is None or easy is None:
        best = max(own.values(), key=lambda row: row["value"], default=None)
        if best is None:
            return "No slice holds the targets of two users."
        return f"{first} does best on {best['slice']}: {best['shown']}."
    return (
        f"{first} reaches {easy['value']:.4f} within a session and {hard['value']:.4f} on the first event "
        f"after a return, {hard['targets']} targets of which the user's latest session says little."
    )
