"""A picture with its title, the one sentence it is there for, and its numbers as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from features.page.charts import check_axes
from features.page.html import Child, Html, json_script, tag
from features.page.table import table


@dataclass(frozen=True)
class Numbers:
    """What a picture shows, as a table under it; ``numeric`` are the places of columns of numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Child]]
    numeric: Sequence[int] = ()


def figure(
    identifier: str,
    title: str,
    finding: str,
    spec: Mapping[str, Any] | None,
    *,
    numbers: Numbers | None = None,
    note: Child = None,
    wide: bool = False,
) -> Html:
    """A picture; ``finding`` is one sentence computed from its data, ``spec`` Vega-Lite's.

    ``spec`` is None where there is nothing to draw; ``wide`` takes the whole row of a grid. Raises
    ValueError for an axis without a title.
    """
    parts: list[Child] = [tag("figcaption", tag("h3", title), tag("p", finding, class_="finding"))]
    if spec is not None:
        check_axes(spec)
        name = f"{title}. {finding} Arrow keys go through the values."
        parts.append(tag("div", id=identifier, class_="chart", tabindex=0, role="group", aria_label=name))
        parts.append(json_script(f"{identifier}-spec", {**spec, "description": title}))
    if note:
        parts.append(tag("p", note, class_="note"))
    if numbers is not None and numbers.rows:
        shown = table(numbers.columns, numbers.rows, caption=title, numeric=numbers.numeric, head=True)
        parts.append(tag("details", tag("summary", "Numbers"), shown, class_="numbers"))
    return tag("figure", parts, class_="wide" if wide else None)
