"""Tables: numbers to the right, text to the left, wide ones scroll by themselves."""

from collections.abc import Sequence

from features.page.html import Child, Html, tag


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Child]],
    *,
    caption: str,
    numeric: Sequence[int] = (),
    head: bool = False,
) -> Html:
    """A table with a caption that screen readers name it by; cells that are no ``Html`` are escaped.

    ``numeric`` are the places of columns to align right; with ``head`` the first cell of a row is its header.
    """
    right = set(numeric)

    def cell(place: int, value: Child) -> Html:
        kind = "num" if place in right else None
        if head and place == 0:
            return tag("th", value, scope="row", class_=kind)
        return tag("td", value, class_=kind)

    header = [
        tag("th", name, scope="col", class_="num" if at in right else None) for at, name in enumerate(columns)
    ]
    body = [tag("tr", [cell(at, value) for at, value in enumerate(row)]) for row in rows]
    inner = [tag("caption", caption), tag("thead", tag("tr", header)), tag("tbody", body)]
    return tag("div", tag("table", inner), class_="scroll", tabindex=0, role="group", aria_label=caption)


def facts(pairs: Sequence[tuple[str, Child]]) -> Html:
    """Names and values, such as versions."""
    return tag("dl", [[tag("dt", name), tag("dd", value)] for name, value in pairs], class_="facts")
