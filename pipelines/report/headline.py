"""How large the build is, and whether its gates passed, with each figure beside its bound."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from features.page.amounts import count, share
from features.page.html import Child, Html, tag
from features.page.shell import Section, Tile, banner, tiles
from features.page.table import table
from pipelines.config.model import Gates
from pipelines.gates.suites import (
    Check,
    bronze_checks,
    drift_checks,
    gold_checks,
    sessions_checks,
    vocabulary_checks,
)
from pipelines.report.facts import Facts
from pipelines.report.snapshot import Snapshot


@dataclass(frozen=True)
class Totals:
    """Counts of the published tables."""

    events: int = 0
    users: int = 0
    sessions: int = 0
    decided: int = 0
    hops: int = 0
    returns: int = 0
    themes: int = 0
    rejected: int = 0
    sequences: int = 0
    targets: int = 0


def measure(tables: Snapshot) -> Totals:
    """The totals; zeros for tables that are not published yet."""
    found: dict[str, int] = {}
    if tables.has("bronze/events"):
        found["events"] = tables.one("SELECT count(*) AS n FROM events")["n"]
    if tables.has("bronze/events_rejected"):
        found["rejected"] = tables.one("SELECT count(*) AS n FROM events_rejected")["n"]
    if tables.has("silver/sessions", "silver/users"):
        found |= tables.one(
            "SELECT count(*) AS sessions, count(is_hop) AS decided, count(*) FILTER (WHERE is_hop) AS hops, "
            "count(*) FILTER (WHERE is_return) AS returns, "
            "count(DISTINCT theme_id) FILTER (WHERE theme_id > 1) AS themes FROM sessions"
        )
        found["users"] = tables.one("SELECT count(*) AS n FROM users")["n"]
    if tables.has("gold/user_sequences"):
        found |= tables.one(
            "SELECT count(*) AS sequences, coalesce(sum(n_targets), 0) AS targets FROM user_sequences"
        )
    return Totals(**found)


def verdict(facts: Facts) -> Html:
    """What a reader must know first: was it published, and if not, why."""
    run, pointer = facts.run, facts.pointer
    if run is None:
        return banner("warn", "No build has run here yet.")
    if not facts.failed:
        passed = facts.summary.get("gates", {})
        return banner("good", f"Published: all {len(passed)} quality gates passed.")
    title = "A quality gate failed: nothing of the last run was published."
    if run.status == "failed":
        title = "The last run failed: nothing of it was published."
    reasons: list[Child] = list(run.gate_failures) or [run.error or "No reason was recorded."]
    below = "Nothing has been published before; there is no table to show below."
    if pointer is not None:
        below = f"Below is what readers still see: publication {pointer.number} of run {pointer.run_id}."
    return banner("bad", title, *reasons, below)


def section(facts: Facts, totals: Totals) -> Section:
    """Headline numbers and gates."""
    judged = list(judgements(facts))
    shown = [one for one in judged if one.check.minimum != one.check.maximum or not one.passed]
    lead = _lead(facts, totals, judged)
    body: list[Child] = [tiles(_tiles(totals))]
    if shown:
        body += [tag("h3", "Gates with a threshold"), _gate_table(shown, "Gates with a threshold")]
    if judged:
        whole = tag("summary", f"All {len(judged)} gates")
        body.append(tag("details", whole, _gate_table(judged, "All gates"), class_="numbers"))
    return Section("headline", "Headline", lead, body)


@dataclass(frozen=True)
class Judgement:
    """A gate, what it measured in the run and whether it held."""

    layer: str
    check: Check
    value: float | None
    passed: bool


def judgements(facts: Facts) -> Iterator[Judgement]:
    """Every gate of the last run that was judged, in order."""
    gates = Gates.model_validate(facts.config.get("gates", {}))
    vocabulary = [name.removesuffix("_ids") for name in facts.metrics.get("vocabulary", {}) if _is_name(name)]
    suites: dict[str, Sequence[Check]] = {
        "bronze": bronze_checks(gates),
        "vocabulary": vocabulary_checks(vocabulary),
        "silver": sessions_checks(gates),
        "drift": drift_checks(gates),
        "gold": gold_checks(gates),
    }
    verdicts = facts.summary.get("gates", {})
    for layer, checks in suites.items():
        for check in checks:
            passed = verdicts.get(f"{layer}.{check.name}")
            if passed is not None:
                yield Judgement(layer, check, facts.metrics.get(layer, {}).get(check.metric), passed)


def _is_name(metric: str) -> bool:
    return metric.endswith("_ids") and not metric.endswith("_repeated_ids")


def _tiles(totals: Totals) -> list[Tile]:
    t = totals
    rows = t.events + t.rejected
    return [
        Tile("Events", count(t.events), f"{share(t.rejected, rows)} of rows refused"),
        Tile("Users", count(t.users), f"{_per(t.events, t.users)} events each"),
        Tile("Sessions", count(t.sessions), f"{_per(t.sessions, t.users)} a user"),
        Tile("Hops", share(t.hops, t.decided), f"{count(t.hops)} of {count(t.decided)} decided sessions"),
        Tile("Returns", share(t.returns, t.hops), f"{count(t.returns)} of the hops"),
        Tile("Themes", count(t.themes), "found in sessions"),
        Tile("Targets", count(t.targets), f"in {count(t.sequences)} tensor rows"),
    ]


def _per(part: int, whole: int) -> str:
    return f"{part / whole:.1f}" if whole else "–"


def _lead(facts: Facts, totals: Totals, judged: Sequence[Judgement]) -> str:
    passed = sum(one.passed for one in judged)
    gates = f"{passed} of {len(judged)} gates of the last run passed."
    if not totals.sessions:
        return f"Nothing is published yet; {gates}"
    return (
        f"{count(totals.events)} events of {count(totals.users)} users fall into {count(totals.sessions)} "
        f"sessions, of which {share(totals.hops, totals.decided)} of the decided ones hop; {gates}"
    )


def _gate_table(judged: Sequence[Judgement], caption: str) -> Html:
    rows = [_gate_row(one) for one in judged]
    return table(
        ["Gate", "Verdict", "Figure", "Allowed", "Holds"], rows, caption=caption, numeric=(2,), head=True
    )


def _gate_row(one: Judgement) -> list[Child]:
    word, kind = ("passed", "passed") if one.passed else ("FAILED", "failed")
    remedy = "" if one.passed else f"; {one.check.remedy}"
    return [
        f"{one.layer}.{one.check.name}",
        tag("span", word, class_=kind),
        "–" if one.value is None else _figure(one.value),
        _bound(one.check),
        one.check.meaning + remedy,
    ]


def _bound(check: Check) -> str:
    low, high = check.minimum, check.maximum
    if low == high:
        return _figure(high or 0)
    parts = [f"≥ {_figure(low)}" if low is not None else "", f"≤ {_figure(high)}" if high is not None else ""]
    return " and ".join(part for part in parts if part)


def _figure(value: Any) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"
