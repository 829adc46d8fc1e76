"""How the models learned: what was minimised and what validation measured, step by step."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from features.page.charts import axis, chart, layer, tip
from features.page.figure import Numbers, figure
from features.page.html import Child, Html
from features.page.shell import Section, grid
from training.report.entry import Contest, Entry, metric_name

MOST_POINTS: Final = 200
"""Points of a curve at most: a long run logs thousands (our choice)."""

Row = Mapping[str, Any]


def curves(contest: Contest, identifier: str = "learning") -> Section | None:
    """Loss and validation of every model that learned by steps; None where none did."""
    trained = [entry for entry in contest.drawn if any(entry.histories.values())]
    if not trained:
        return None
    name = _common_loss(trained)
    losses = [row for entry in trained for row in _losses(entry, name)]
    validations = [row for entry in trained for row in _validations(entry, contest.metric)]
    body: list[Child] = []
    if losses:
        title = "Training loss of the next item" if name == "next_item" else "Training loss"
        finding, place = _of_loss(losses), f"{identifier}-loss"
        body.append(
            _picture(place, title, "Loss (nats a target)", losses, finding=finding, hues=contest.hues)
        )
    if validations:
        metric = metric_name(contest.metric)
        finding = _of_validation(validations, metric)
        place, title = f"{identifier}-validation", f"Validation, {metric}"
        body.append(_picture(place, title, metric, validations, finding=finding, hues=contest.hues))
    if not body:
        return None
    lead = "Each line is one training run. The weights of the best validation are kept and tested."
    return Section(identifier, "Learning curves", lead, [grid(*body)])


def _common_loss(trained: Sequence[Entry]) -> str:
    """What all of them minimise alike: MoS adds its strands' loss to that of the next item."""
    lines = [
        line
        for entry in trained
        for history in entry.histories.values()
        for line in history
        if "loss" in line
    ]
    return "next_item" if lines and all("next_item" in line for line in lines) else "loss"


def _losses(entry: Entry, name: str) -> Iterator[Row]:
    for seed, history in entry.histories.items():
        lines = [line for line in history if "loss" in line and "validation" not in line]
        for line in _thinned(lines):
            yield _point(entry, seed, line["step"], float(line[name]))


def _validations(entry: Entry, metric: str) -> Iterator[Row]:
    for seed, history in entry.histories.items():
        lines = [line for line in history if "validation" in line]
        for line in _thinned(lines):
            value = line["validation"].get(_of_candidates(line["validation"], metric))
            if value is not None:
                yield _point(entry, seed, line["step"], float(value))


def _of_candidates(measured: Row, metric: str) -> str:
    """The validation's own name of a metric: AUC carries the kind of its negatives."""
    return (
        next((name for name in measured if name.startswith("gauc_")), metric) if metric == "auc" else metric
    )


def _point(entry: Entry, seed: int, step: int, value: float) -> Row:
    return {
        "model": entry.label,
        "run": f"{entry.label}, seed {seed}",
        "step": step,
        "value": value,
        "shown": f"{value:.4f}",
    }


def _thinned(lines: Sequence[Row]) -> Sequence[Row]:
    """At most ``MOST_POINTS`` of the lines, the last one among them."""
    every = -(-len(lines) // MOST_POINTS)
    return [line for at, line in enumerate(lines) if (len(lines) - 1 - at) % max(every, 1) == 0]


def _picture(identifier: str, title: str, y: str, rows: list[Row], *, finding: str, hues: Row) -> Html:
    steps: dict[str, list[int]] = {}
    for row in rows:
        steps.setdefault(row["run"], []).append(row["step"])
    tips = [tip("run", "Run"), tip("step", "Step"), tip("shown", y)]
    spec = chart(
        rows,
        layer(
            "line",
            point={"size": 30} if max(map(len, steps.values())) <= 40 else False,
            strokeWidth=1.8,
            encoding={
                "x": axis("step", "Training step (updates of the weights)"),
                "y": axis("value", y, scale={"zero": False}),
                "color": hues,
                "detail": {"field": "run"},
                "tooltip": tips,
            },
        ),
        height=240,
    )
    shown = [[row["run"], row["step"], row["shown"]] for row in rows]
    return figure(identifier, title, finding, spec, numbers=Numbers(["Run", "Step", y], shown, [1, 2]))


def _of_loss(rows: list[Row]) -> str:
    run = rows[0]["run"]
    own = [row for row in rows if row["run"] == run]
    tail = own[-max(2, len(own) // 5) :]
    falling = len(own) > 2 and tail[-1]["value"] < 0.98 * tail[0]["value"]
    end = (
        "and was still falling at the end: longer training may help"
        if falling
        else "and was level at the end"
    )
    return f"The loss of {run} fell from {own[0]['value']:.2f} to {own[-1]['value']:.2f} nats {end}."


def _of_validation(rows: list[Row], name: str) -> str:
    run = rows[0]["run"]
    own = [row for row in rows if row["run"] == run]
    best = max(own, key=lambda row: row["value"])
    if len(own) == 1:
        return f"{run} was validated once, after step {best['step']:,}: {name} {best['shown']}."
    end = (
        ", its last validation"
        if best is own[-1]
        else f" and fell to {own[-1]['shown']} by step {own[-1]['step']:,}"
    )
    return f"{run} validated best after step {best['step']:,}, with {name} {best['shown']}{end}."
