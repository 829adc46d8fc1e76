"""How full the tensors are: strands in use, places filled, events that found no place, padding."""

from dataclasses import dataclass, field
from typing import Any

from features.page.amounts import count, share
from features.page.charts import axis, chart, layer, tip
from features.page.colours import colour
from features.page.figure import Numbers, figure
from features.page.html import Html
from features.page.shell import Section, grid
from features.spec import SequenceSpec
from pipelines.report.gold_scan import GoldScan
from pipelines.report.pictures import Bar, columns
from pipelines.report.snapshot import Snapshot


@dataclass(frozen=True)
class Family:
    """Sums over the rows of ``gold/user_sequences``: placed + dropped = the rows' events."""

    name: str
    strands: int  # in use
    strand_places: int  # there are
    placed: int
    dropped: int
    places: int


@dataclass(frozen=True)
class Strands:
    """Families, and rows by bucket."""

    families: list[Family] = field(default_factory=list)
    buckets: dict[int, dict[str, int]] = field(default_factory=dict)  # bucket -> rows, events


def measure(tables: Snapshot, spec: SequenceSpec | None, scan: GoldScan) -> Strands:
    """One aggregate by bucket; the strands in use come from ``scan``."""
    if spec is None or not tables.has("gold/user_sequences"):
        return Strands()
    names = [family.name for family in spec.families]
    dropped = ", ".join(f"coalesce(sum({name}__dropped), 0) AS {name}" for name in names)
    found = tables.query(
        f"SELECT length_bucket AS bucket, count(*) AS rows, sum(length) AS events, {dropped} "
        "FROM user_sequences GROUP BY 1 ORDER BY 1"
    )
    events, rows = sum(row["events"] for row in found), sum(row["rows"] for row in found)
    families = []
    for family in spec.families:
        lost = sum(row[family.name] for row in found)
        places = sum(row["rows"] * family.strands * min(family.length, row["bucket"]) for row in found)
        used = scan.strands.get(family.name, 0)
        families.append(Family(family.name, used, rows * family.strands, events - lost, lost, places))
    return Strands(families, {row["bucket"]: {"rows": row["rows"], "events": row["events"]} for row in found})


def section(found: Strands) -> Section:
    """Fill and truncation by family, and padding by bucket."""
    rows = sum(bucket["rows"] for bucket in found.buckets.values())
    if not rows:
        return Section("strands", "Strands", "No sequence is published yet.")
    events = sum(bucket["events"] for bucket in found.buckets.values())
    lead = (
        f"{count(rows)} rows hold {count(events)} events. A strand is one ordered part of a row's events; "
        "its places are fixed, so it can be part empty or leave events out."
    )
    return Section("strands", "Strands", lead, [grid(_fill(found), _buckets(found))])


def _fill(found: Strands) -> Html:
    rows: list[dict[str, Any]] = []
    for one in found.families:
        for what, part, whole in (
            ("strands in use", one.strands, one.strand_places),
            ("places filled", one.placed, one.places),
            ("events left out", one.dropped, one.placed + one.dropped),
        ):
            said = f"{share(part, whole)} ({count(part)} of {count(whole)})"
            rows.append(
                {"family": one.name, "what": what, "share": part / whole if whole else 0, "said": said}
            )
    most = max(found.families, key=lambda one: one.dropped)
    fullest = max(found.families, key=lambda one: one.placed / max(1, one.places))
    finding = (
        f"The {fullest.name} strands are the fullest with {share(fullest.placed, fullest.places)} of their "
        f"places; the {most.name} family leaves out most, "
        f"{share(most.dropped, most.placed + most.dropped)} of the events."
    )
    names = ["strands in use", "places filled", "events left out"]
    encoding = {
        "y": axis("family", "Strand family", "nominal", sort=None),
        "yOffset": {"field": "what", "type": "nominal", "sort": names},
        "x": axis("share", "Share", format="~%", scale={"domain": [0, 1]}, grid=True, tickCount=4),
        "color": {
            "field": "what",
            "type": "nominal",
            "title": None,
            "scale": {"domain": names, "range": [colour("c6"), colour("c1"), colour("c2")]},
            "legend": {"columns": 2},
        },
        "tooltip": [tip("family", "Family"), tip("what", "What"), tip("said", "Share")],
    }
    spec = chart(
        rows,
        layer("bar", encoding=encoding, cornerRadiusEnd=2),
        height=14 * len(rows) + 8 * len(found.families),
    )
    numbers = Numbers(
        ["Family", "What", "Share"], [[row["family"], row["what"], row["said"]] for row in rows], (2,)
    )
    return figure("strand-fill", "Fill and truncation by family", finding, spec, numbers=numbers)


def _buckets(found: Strands) -> Html:
    rows = sum(bucket["rows"] for bucket in found.buckets.values())
    places = sum(bucket["rows"] * size for size, bucket in found.buckets.items())
    events = sum(bucket["events"] for bucket in found.buckets.values())
    bars = [
        Bar(str(size), bucket["rows"], f"{count(bucket['rows'])} ({share(bucket['rows'], rows)})")
        for size, bucket in found.buckets.items()
    ]
    finding = f"{share(places - events, places)} of the {count(places)} event places are padding."
    return columns(
        "strand-buckets", "Rows by length", finding, bars, ("Padded length (events)", "Rows (count)")
    )
