"""Where targets end up in each model's list: the share that it finds by rank."""

from typing import Any, Final

import numpy as np
import pandas as pd

from features.page.charts import axis, chart, layer, tip
from features.page.colours import colour
from features.page.figure import Numbers, figure
from features.page.html import Html
from features.page.shell import Section
from training.report.entry import Contest, Entry

RANKS: Final = (
    1,
    2,
    3,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    50_000,
    100_000,
    1_000_000,
)


def ranks(contest: Contest, identifier: str = "ranks") -> Section:
    """The share of targets within the first k, by k."""
    lead = (
        "A rank of 1 means that what the user did next stood first among all items. Items that the model "
        "never saw have no rank: its line ends below 100 % by their share."
    )
    return Section(identifier, "Rank distribution", lead, [_picture(contest, identifier)])


def found_within(frame: pd.DataFrame, k: int) -> float:
    """The share of targets of rank ``k`` or better; HR@k."""
    return float((frame["rank"].to_numpy() <= k).mean())


def _picture(contest: Contest, identifier: str) -> Html:
    finite = [
        frame["rank"][np.isfinite(frame["rank"])] for one in contest.entries for frame in one.frames.values()
    ]
    most = max((float(rank.max()) for rank in finite if len(rank)), default=10.0)
    cuts = [k for at, k in enumerate(RANKS) if at == 0 or RANKS[at - 1] < most]
    rows: list[dict[str, Any]] = [_row(entry, k) for entry in contest.drawn for k in cuts]
    tips = [tip("model", "Model"), tip("rank", "Within the first"), tip("shown", "Targets found")]
    spec = chart(
        rows,
        layer(
            "rule",
            strokeDash=[3, 3],
            aria=False,
            encoding={"x": {"datum": 10}, "color": {"value": colour("axis")}},
        ),
        layer(
            "line",
            point={"size": 30},
            strokeWidth=1.8,
            encoding={
                "x": axis("rank", "Rank k (items, log scale)", scale={"type": "log"}, format=",d"),
                "y": axis(
                    "share", "Targets within the first k (share)", format=".0%", scale={"domain": [0, 1]}
                ),
                "color": contest.hues,
                "tooltip": tips,
            },
        ),
        height=280,
    )
    by_model = {entry.label: [row for row in rows if row["model"] == entry.label] for entry in contest.drawn}
    shown = [[f"{k:,}", *(own[at]["shown"] for own in by_model.values())] for at, k in enumerate(cuts)]
    numbers = Numbers(["Within the first", *by_model], shown, range(1 + len(by_model)))
    title = "Share of targets found within the first k"
    return figure(f"{identifier}-figure", title, _finding(contest), spec, numbers=numbers, wide=True)


def _row(entry: Entry, k: int) -> dict[str, Any]:
    share = float(np.mean([found_within(frame, k) for frame in entry.frames.values()]))
    return {"model": entry.label, "rank": k, "share": share, "shown": f"{share:.2%}"}


def _finding(contest: Contest) -> str:
    entry = contest.entries[0]
    rank = np.concatenate([frame["rank"].to_numpy() for frame in entry.frames.values()])
    known = rank[np.isfinite(rank)]
    if not len(known):
        return f"{entry.label} knows no item of the test."
    return (
        f"{entry.label} puts {np.mean(rank <= 1):.1%} of the targets first and {np.mean(rank <= 10):.1%} "
        f"among the first 10; the median rank of an item that it knows is {np.median(known):,.0f}, and "
        f"{1 - len(known) / len(rank):.1%} it does not know."
    )
