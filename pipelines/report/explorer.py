"""The user explorer: sessions of single users by theme, with hops and returns, and their strands."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any, Final

from features.codes import MODES
from features.page.html import Child, Html, json_script, tag
from features.page.shell import Section
from pipelines.report.theme_table import Themes

KIND_NAMES: Final = {
    "asked for": "Asked for",
    "hoppers": "Hop most",
    "returners": "Return most",
    "steady": "Hop least",
    "heavy": "Most events",
}


def section(histories: Mapping[str, Any], themes: Themes) -> Section:
    """The frame; the script fills it."""
    users = histories["users"]
    title, short = "User explorer", "Explorer"
    if not users:
        return Section("explorer", title, "No user is published yet.", short=short)
    lead = (
        "One user at a time: every mark is a session in the lane of its theme, in order. Choose a user, then "
        "a session; the arrow keys walk through both."
    )
    data = {**histories, "themes": {str(one.theme_id): one.name for one in themes.themes}, "modes": MODES}
    body: list[Child] = [
        tag("div", [_people(users), _stage()], class_="explorer"),
        json_script("histories", data),
    ]
    return Section("explorer", title, lead, body, short=short)


def _people(users: list[dict[str, Any]]) -> Html:
    groups = []
    for kind, members in groupby(enumerate(users), key=lambda pair: pair[1]["kind"]):
        buttons = [
            tag("button", user["user_id"], type="button", class_="person", data_user=at, title=user["why"])
            for at, user in members
        ]
        groups.append(tag("div", tag("h3", KIND_NAMES[kind]), tag("div", buttons, class_="people-row")))
    return tag("div", groups, class_="people", role="group", aria_label="Users")


def _stage() -> Html:
    return tag(
        "div",
        tag("div", tag("h3", "", id="who"), tag("p", "", id="why", class_="finding"), id="person"),
        tag("div", _legend(), class_="note"),
        tag(
            "div",
            tag("div", "", id="lane-names", class_="lane-names"),
            tag(
                "div",
                "",
                id="lanes",
                class_="lanes",
                tabindex=0,
                role="group",
                aria_label="Sessions in order",
            ),
            class_="timeline",
        ),
        tag("p", "Session (ordinal, in order; the dates above are UTC days)", class_="note"),
        tag(
            "div",
            tag("div", tag("h3", "Session"), tag("div", "", id="user-session", aria_live="polite")),
            tag("div", tag("h3", "Strands at the end of the history"), tag("div", "", id="user-strands")),
            class_="beside",
        ),
        class_="stage",
    )


def _legend() -> Html:
    marks = [
        ('<circle cx="8" cy="8" r="5" class="solid"/>', "stays near"),
        ('<path d="M8 1L15 8L8 15L1 8Z" class="solid"/>', "hop"),
        (
            '<path d="M8 3L13 8L8 13L3 8Z" class="solid"/><circle cx="8" cy="8" r="7.2" class="ring"/>',
            "return, dashed to where the theme was left",
        ),
        ('<circle cx="8" cy="8" r="4.5" class="hollow"/>', "undecided"),
    ]
    drawn = [
        tag("li", Html(f'<svg width="16" height="16" aria-hidden="true">{mark}</svg>'), f" {text}")
        for mark, text in marks
    ]
    return tag("ul", drawn, tag("li", "larger: more events"), class_="legend")


CSS: Final = """
.people{display:flex;flex-wrap:wrap;gap:14px 28px;margin-bottom:24px}
.people h3{font-size:.875rem;font-weight:500;color:var(--soft);margin-bottom:6px}
.people-row{display:flex;flex-wrap:wrap;gap:6px}
.person{max-width:16rem;overflow:hidden;text-overflow:ellipsis}
.person[aria-pressed=true]{background:var(--ink);color:var(--page);border-color:var(--ink)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 18px;margin:8px 0 12px;padding:0}
.legend svg{vertical-align:-3px}
.legend .solid{fill:var(--soft)}.legend .ring,.legend .hollow{fill:none;stroke:var(--soft);stroke-width:1.5}
.timeline{display:flex;min-width:0}
.lane-names{flex:0 0 auto;width:170px;padding-top:34px;font-size:.8125rem}
.lane-names div{height:34px;line-height:34px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis;
padding-right:10px}
.lane-names i{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:8px}
.lanes{overflow-x:auto;flex:1 1 auto;min-width:0;border-radius:4px}
.lanes svg{display:block}
.lanes .lane{stroke:var(--line)}.lanes .day{stroke:var(--line);stroke-dasharray:2 3}
.lanes text{fill:var(--soft);font-size:12px}
.lanes .way{fill:none;stroke:var(--axis);stroke-width:1}
.lanes .left{fill:none;stroke-width:1.5;stroke-dasharray:4 3}
.lanes .mark{cursor:pointer;outline:none}
.lanes .mark .hit{fill:transparent}
.lanes .mark[aria-pressed=true] .halo{stroke:var(--ink);stroke-width:2;fill:none}
.lanes .mark .halo{fill:none}
.lanes .mark:focus-visible .halo{stroke:var(--c1);stroke-width:3}
.beside{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:36px 40px;margin-top:28px}
#user-session .scroll{max-height:420px;overflow:auto}
.family{margin:10px 0 16px}
.family p{font-size:.875rem}
.strand{display:grid;grid-template-columns:8.5rem minmax(0,1fr);gap:10px;font-size:.8125rem;margin-top:4px}
.strand span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.places{display:flex;gap:1px;padding-top:3px}
.places i{flex:0 1 5px;min-width:1px;height:11px;border-radius:1px;background:var(--line)}
@media (max-width:820px){.beside{grid-template-columns:minmax(0,1fr)}}
@media (max-width:560px){.lane-names{width:92px}.strand{grid-template-columns:5.5rem minmax(0,1fr)}}
"""
