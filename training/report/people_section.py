"""The chosen users on the page. Ids and categories come from the source: ``tag`` escapes them all."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Final

from features.codes import FIRST_INDEX
from features.page.amounts import count, duration
from features.page.colours import SERIES
from features.page.html import Child, Html, tag
from features.page.shell import Section
from training.report.people import KINDS, Person
from training.report.people import Session as Visit

SHOWN_ITEMS: Final = 8
"""Events of a session that are written out, the latest (our choice)."""

CSS: Final = """
.person{border-top:2px solid var(--ink);padding:12px 0 8px;margin-top:28px}
.person-grid{display:grid;grid-template-columns:minmax(0,3fr) minmax(0,2fr);gap:12px 40px;margin-top:8px}
.person h4{font-size:.875rem;margin:0 0 6px;color:var(--soft);font-weight:500}
.person h4~h4{margin-top:16px}
.visits,.list,.rests{list-style:none;margin:0;padding:0;font-size:.875rem}
.visits>li{border-left:6px solid var(--hue);padding:2px 0 2px 10px;margin-bottom:8px}
.visits .note,.list .note,.rests .note{font-size:.8125rem}
.list>li{display:flex;gap:8px;padding:2px 6px;overflow-wrap:anywhere}
.list>li>b{font-weight:400;color:var(--soft);min-width:1.5rem;text-align:right}
.list>li.hit{background:var(--good-wash);border-radius:4px}
.list>li.hit strong{color:var(--good)}
.rests>li{margin-bottom:6px}
.bar{height:5px;background:var(--line);border-radius:3px;margin-top:2px}
.bar>span{display:block;height:5px;border-radius:3px;background:var(--c1)}
.items{overflow-wrap:anywhere}
.models{margin-bottom:36px}.models tbody th{white-space:nowrap}
@media (max-width:820px){.person-grid{grid-template-columns:minmax(0,1fr)}}
"""


def users(people: Sequence[Person], model: str, identifier: str = "users") -> Section | None:
    """One block a user; None without any."""
    if not people:
        return None
    lead = (
        f"Targets of the test, chosen to be instructive: what the user had done by then, what {model} "
        "recommended, and what was really next. A coloured edge is a session's theme."
    )
    return Section(identifier, "A few users", lead, [_person(one, model) for one in people])


def _person(one: Person, model: str) -> Html:
    left = [tag("h4", f"History: {_extent(one)}"), tag("ol", _visits(one), class_="visits")]
    right: list[Child] = [
        tag("h4", f"Recommended by {model}, best of {one.of}"),
        tag("ol", _recommended(one), class_="list"),
    ]
    if one.rests_on:
        right += [tag("h4", "What the answer rests on"), tag("ul", _rests_on(one), class_="rests")]
    return tag(
        "article",
        tag("h3", f"{KINDS[one.kind].title}: user {one.user}"),
        tag("p", _finding(one), class_="finding"),
        tag("div", tag("div", left), tag("div", right), class_="person-grid"),
        class_="person",
    )


def _finding(one: Person) -> str:
    """When, how long after the last event, and where each model had what was next."""
    last = one.history[-1].events[-1].ts if one.history else None
    gap = "" if last is None else f", {duration(one.ts - last)} after the last event"
    ranks = ", ".join(f"{_rank(rank)} of {label}" for label, rank in one.ranks.items())
    item, category = one.following
    of = f" of category {category}" if category else ""
    return f"{_instant(one.ts)}{gap}, {KINDS[one.kind].why}: item {item}{of} stood at {ranks}."


def _rank(rank: float) -> str:
    return f"rank {count(rank)}" if isfinite(rank) else "no rank"


def _instant(ts: int) -> str:
    return f"{datetime.fromtimestamp(ts, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _extent(one: Person) -> str:
    events = sum(len(visit.events) for visit in one.history)
    older = f", {count(one.left_out)} older ones left out" if one.left_out else ""
    return f"{_number(events, 'event')} in {_number(len(one.history), 'session')}{older}; newest first"


def _number(of: int, thing: str) -> str:
    return f"{count(of)} {thing}" + "s" * (of != 1)


def _visits(one: Person) -> list[Child]:
    codes = list(dict.fromkeys(visit.code for visit in reversed(one.history) if visit.code >= FIRST_INDEX))
    return [_visit(visit, codes) for visit in reversed(one.history)]


def _visit(visit: Visit, codes: Sequence[int]) -> Html:
    """A session with its theme's name and hue; the user's seven newest themes have one."""
    at = codes.index(visit.code) if visit.code in codes else len(SERIES)
    hue = f"var(--{SERIES[at]})" if at < len(SERIES) else "var(--mute)"
    events = visit.events[-SHOWN_ITEMS:]
    more = len(visit.events) - len(events)
    kinds = len({event.kind for event in visit.events}) > 1
    items = ", ".join(f"{event.item} ({event.kind})" if kinds else event.item for event in events)
    head = f"{_instant(visit.events[0].ts)} · {_number(len(visit.events), 'event')} · {visit.theme}"
    return tag(
        "li",
        tag("div", head, class_="note"),
        tag("div", f"… {items}" if more else items, class_="items"),
        style=f"--hue:{hue}",
    )


def _recommended(one: Person) -> list[Child]:
    rows: list[Child] = []
    for at, (item, category) in enumerate(one.recommended, start=1):
        hit = item == one.following[0]
        name = tag("strong", f"{item}: this was next") if hit else tag("span", item)
        of = tag("span", f"category {category}", class_="note") if category else None
        rows.append(tag("li", tag("b", at), name, of, class_="hit" if hit else None))
    if one.following[0] not in {item for item, _ in one.recommended}:
        item, category = one.following
        about = f"category {category}" if category else None
        text = f"{item} was next, {_rank(next(iter(one.ranks.values())))}"
        rows.append(
            tag(
                "li", tag("b", "…"), tag("strong", text), tag("span", about, class_="note") if about else None
            )
        )
    return rows


def _rests_on(one: Person) -> list[Child]:
    rows: list[Child] = []
    for part, key, weight in one.rests_on:
        share = "" if weight is None else f" · {weight:.1%}"
        bar = (
            None
            if weight is None
            else tag("div", tag("span", style=f"width:{100 * weight:.1f}%"), class_="bar")
        )
        rows.append(tag("li", tag("span", part), tag("span", f" {key}{share}", class_="note"), bar))
    return rows
