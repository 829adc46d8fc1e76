"""The model beside its controls: the verdict, a table with intervals, and differences slice by slice."""

from collections.abc import Sequence
from typing import Any, Final

from features.page.amounts import count, number
from features.page.charts import axis, chart, layer, tip
from features.page.colours import colour
from features.page.figure import Numbers, figure
from features.page.html import Child, Html, tag
from features.page.shell import Section, Tile, banner, tiles
from features.page.table import table
from training.evaluate.report import label
from training.evaluate.statistics import Interval
from training.report.entry import Contest, Difference, Entry, differences, metric_name

RETRIEVAL: Final = ("ndcg_10", "hr_10", "hr_50", "mrr_10")
VERDICTS: Final = {
    "better": "better",
    "worse": "worse",
    "undecided": "not decided",
    "unknown": "not comparable",
}


def headline(contests: Sequence[Contest], found: Sequence[Sequence[Difference]]) -> Html:
    """What a reader must know first: which model to trust, by its main metric on all targets."""
    lines, verdicts = [], []
    for contest, own in zip(contests, found, strict=True):
        for one in (each for each in own if each.part == "all"):
            lines.append(f"{sentence(one, contest)}{_where(contest, contests)}")
            verdicts.append(one.verdict)
    if not lines:
        return banner(
            "warn", "No control beside it", "Give a control with --control to know what it is worth."
        )
    first, *rest = lines
    kind = "bad" if "worse" in verdicts else "good" if set(verdicts) == {"better"} else "warn"
    return banner(kind, first, *rest)


def _where(contest: Contest, contests: Sequence[Contest]) -> str:
    return f" (data {contest.data})" if len(contests) > 1 else ""


def sentence(one: Difference, contest: Contest) -> str:
    """A difference in words, such as a banner or a picture needs."""
    on = "" if one.part == "all" else f" on {label(one.part)}"
    if one.interval is None:
        return f"{one.model} cannot be set against {one.control}{on}: {one.why}"
    words = {
        "better": "is better than",
        "worse": "is worse than",
        "undecided": "is not shown to differ from",
    }[one.verdict]
    return f"{one.model} {words} {one.control}{on}: {metric_name(contest.metric)} {shown(one.interval)}."


def shown(found: Interval) -> str:
    """An interval with its sign."""
    return f"{found.estimate:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def comparison(contest: Contest, found: Sequence[Difference], identifier: str = "controls") -> Section:
    """Tiles, the table of all models and the differences by slice."""
    seeds = len(contest.entries[0].frames)
    over = f"{seeds} training seeds and users" if seeds > 1 else "users (one training run each)"
    lead = (
        f"Means over test targets with 95 % intervals by bootstrap over {over}. A difference is paired: both "
        "models answered the same targets."
    )
    body: list[Child] = [tiles(_tiles(contest)), tag("div", _table(contest), class_="models")]
    if found:
        body.append(_differences(contest, found, f"{identifier}-differences"))
    title = "Against its controls" if identifier == "controls" else f"Models on {contest.data}"
    return Section(identifier, title, lead, body)


def _tiles(contest: Contest) -> list[Tile]:
    frame = next(iter(contest.entries[0].frames.values()))
    made = [Tile("test targets", count(len(frame)), f"of {count(frame['user'].nunique())} users")]
    for entry in contest.entries[:4]:
        value = entry.spread(contest.metric)
        if value is not None:
            note = f"{metric_name(contest.metric)}, {value.low:.4f} to {value.high:.4f}"
            made.append(Tile(entry.label, number(value.estimate, 4), note))
    return made


def _table(contest: Contest) -> Html:
    """Every model with the figures of its own test file, and the interval of each per-target metric."""
    metrics = _metrics(contest)
    columns = ["model", *map(metric_name, metrics), "items known", "parameters", "training"]
    rows: list[list[Child]] = []
    for entry in contest.entries:
        cells: list[Child] = [entry.label]
        cells += [_cell(entry, metric) for metric in metrics]
        ceiling, parameters = entry.figure("coverage_ceiling"), entry.facts.get("parameters")
        seconds = entry.facts.get("seconds")
        cells.append("–" if ceiling is None else f"{ceiling:.1%}")
        cells.append("–" if parameters is None else count(parameters))
        cells.append("–" if seconds is None else f"{seconds:,.0f} s")
        rows.append(cells)
    filled = [at for at in range(len(columns)) if at == 0 or any(row[at] != "–" for row in rows)]
    columns, rows = [columns[at] for at in filled], [[row[at] for at in filled] for row in rows]
    numeric = range(1, len(columns))
    return table(columns, rows, caption="Models by test figures", numeric=numeric, head=True)


def _metrics(contest: Contest) -> list[str]:
    """Per-target metrics first, then what the runs measured over all candidates."""
    first = contest.entries[0]
    test = next(iter(first.tests.values()), {}).get("all", {})
    if contest.metric != "auc":
        return list(dict.fromkeys([contest.metric, *RETRIEVAL]))
    return ["auc", *(name for name in test if name.startswith(("auc_", "gauc_", "log_loss_", "normalised_")))]


def _cell(entry: Entry, metric: str) -> str:
    """The run's own figure; with an interval where results per target give one."""
    own = entry.figure(metric)
    per_target = metric == "auc" or metric.split("_", maxsplit=1)[0] in ("hr", "ndcg", "mrr")
    spread = entry.spread(metric) if per_target else None
    if spread is None:
        return "–" if own is None else f"{own:.4f}"
    value = spread.estimate if own is None else own
    return f"{value:.4f} [{spread.low:.4f}, {spread.high:.4f}]"


def _differences(contest: Contest, found: Sequence[Difference], identifier: str) -> Html:
    rows = [row for one in found if (row := _row(one)) is not None]
    name = metric_name(contest.metric)
    several = len({row["pair"] for row in rows}) > 1
    height = len({row["slice"] for row in rows}) * max(26, 13 * len({row["pair"] for row in rows}))
    shared: dict[str, Any] = {
        "y": axis(
            "slice", "Targets (slice)", "nominal", sort=[label(one.part) for one in found], labelLimit=200
        )
    }
    if several:
        shared["yOffset"] = {"field": "pair", "type": "nominal"}
        shared["color"] = {"field": "pair", "type": "nominal", "title": "Model − control"}
    x = axis("difference", f"{name}, model − control", tickCount=8)
    says = [
        tip("pair", "Pair"),
        tip("slice", "Targets"),
        tip("shown", "Difference"),
        tip("verdict", "Verdict"),
    ]
    spec = chart(
        rows,
        layer(
            "rule",
            strokeWidth=1,
            aria=False,
            encoding={"x": {"datum": 0}, "color": {"value": colour("axis")}},
        ),
        layer(
            "rule",
            None if several else "c1",
            strokeWidth=2,
            encoding={
                **shared,
                "x": axis("low", f"{name}, model − control"),
                "x2": {"field": "high"},
            },
        ),
        layer(
            "point",
            None if several else "c1",
            size=70,
            filled=True,
            opacity=1,
            encoding={
                **shared,
                "x": x,
                "shape": {
                    "field": "verdict",
                    "type": "nominal",
                    "title": "Verdict",
                    "legend": {"symbolFillColor": colour("soft"), "symbolStrokeColor": colour("soft")},
                    "scale": {
                        "domain": [VERDICTS["better"], VERDICTS["undecided"], VERDICTS["worse"]],
                        "range": ["triangle-up", "circle", "triangle-down"],
                    },
                },
                "tooltip": says,
            },
        ),
        height=height,
    )
    numbers = Numbers(
        ["Slice", "Pair", "Difference", "95 % interval", "Users", "Targets a seed", "Verdict"],
        [_numbers(one) for one in found],
        [2, 5, 6],
    )
    return figure(
        identifier,
        "Where it gains and where it loses",
        _finding(contest, found),
        spec if rows else None,
        numbers=numbers,
        wide=True,
    )


def _row(one: Difference) -> dict[str, Any] | None:
    if one.interval is None:
        return None
    return {
        "pair": f"{one.model} − {one.control}",
        "slice": label(one.part),
        "difference": one.interval.estimate,
        "low": one.interval.low,
        "high": one.interval.high,
        "shown": shown(one.interval),
        "verdict": VERDICTS[one.verdict],
    }


def _numbers(one: Difference) -> list[Child]:
    start: list[Child] = [label(one.part), f"{one.model} − {one.control}"]
    if one.interval is None:
        return [*start, "–", one.why, "–", "–", VERDICTS[one.verdict]]
    found = one.interval
    return [
        *start,
        f"{found.estimate:+.4f}",
        f"[{found.low:+.4f}, {found.high:+.4f}]",
        count(found.users),
        count(found.targets / found.seeds),
        VERDICTS[one.verdict],
    ]


def _finding(contest: Contest, found: Sequence[Difference]) -> str:
    """How many slices each pair wins and loses, and its largest established difference."""
    model, control = contest.pairs[0]
    own = [one for one in found if (one.model, one.control) == (model, control) and one.interval]
    better = [one for one in own if one.verdict == "better"]
    worse = [one for one in own if one.verdict == "worse"]
    text = (
        f"{model} is established better than {control} on {len(better)} of {len(own)} slices and worse on "
        f"{len(worse)}"
    )
    both = sorted(better + worse, key=lambda one: -abs(one.interval.estimate if one.interval else 0))
    if not both or both[0].interval is None:
        return f"{text}."
    return f"{text}; the largest difference is {both[0].interval.estimate:+.4f} on {label(both[0].part)}."


__all__ = ("comparison", "differences", "headline", "sentence")
