"""The page around the sections: head, status, navigation, theme switch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from features.page.charts import CONFIG
from features.page.html import Child, Html, join, safe_json, tag
from features.page.script import SCRIPT
from features.page.style import style

POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:"
)
"""The browser itself refuses every request that leaves the file (Vega makes functions of expressions)."""


MARK: Final = '<meta name="generator" content="seqloom">'
"""By which an erasure knows a page of ours among a folder's documents; it stands near the beginning."""


@dataclass(frozen=True)
class Section:
    """A part of the page that the navigation names; ``lead`` says what it answers."""

    identifier: str
    title: str
    lead: Child
    body: Sequence[Child] = field(default_factory=tuple)
    short: str = ""  # in the navigation, instead of the title


@dataclass(frozen=True)
class Tile:
    """A headline number with its name and what to hold it against."""

    name: str
    value: str
    note: str = ""


def page(
    title: str,
    subtitle: Child,
    sections: Sequence[Section],
    *,
    runtime: str,
    banner: Child = None,
    script: str = "",
    css: str = "",
    footer: Child = None,
) -> str:
    """The whole file. ``runtime`` is ``vega_runtime()``; ``script`` and ``css`` are the page's own."""
    links = [tag("li", tag("a", one.short or one.title, href=f"#{one.identifier}")) for one in sections]
    head = [
        tag("meta", charset="utf-8"),
        Html(MARK),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", Html(style() + css)),
    ]
    body = [
        tag("a", "Skip to the content", href="#content", class_="skip"),
        tag(
            "header",
            tag("div", tag("h1", title), tag("p", subtitle, class_="subtitle")),
            tag("button", "Theme: auto", type="button", id="theme"),
        ),
        tag("nav", tag("ul", links), aria_label="Sections"),
        tag("main", banner, [_section(one) for one in sections], id="content", tabindex=-1),
        tag("footer", footer),
        tag("div", id="tip", role="status", hidden=True),
        tag("script", Html(runtime)),
        tag("script", Html(f"const CONFIG = {safe_json(CONFIG)};{SCRIPT}")),
        tag("script", Html(script)) if script else None,
    ]
    inner = tag("html", tag("head", head), tag("body", body), lang="en")
    return f"<!doctype html>\n{inner}\n"


def banner(kind: str, title: str, *lines: Child) -> Html:
    """What a reader must know first; ``kind`` is good, warn or bad."""
    return tag(
        "div", tag("p", tag("strong", title)), [tag("p", line) for line in lines], class_=f"banner {kind}"
    )


def tiles(numbers: Sequence[Tile]) -> Html:
    """Headline numbers side by side."""
    return tag(
        "dl",
        [
            tag("div", tag("dt", one.name), tag("dd", one.value), tag("dd", one.note, class_="note"))
            for one in numbers
        ],
        class_="tiles",
    )


def grid(*figures: Child) -> Html:
    """Figures two abreast where there is room."""
    return tag("div", figures, class_="grid")


def _section(one: Section) -> Html:
    inner = [tag("h2", one.title), tag("p", one.lead, class_="lead"), join(one.body)]
    return tag("section", inner, id=one.identifier)
