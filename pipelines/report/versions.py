"""Which versions and which configuration made what is shown."""

from collections.abc import Iterator, Mapping
from typing import Any

from features.page.amounts import duration, instant
from features.page.html import Child, tag
from features.page.shell import Section
from features.page.table import facts as listed
from features.page.table import table
from pipelines.report.facts import Facts


def section(facts: Facts) -> Section:
    """Publication, run, fit, table versions and every configured value."""
    run, pointer, fit = facts.run, facts.pointer, facts.fit
    pairs: list[tuple[str, Child]] = []
    if pointer is not None:
        pairs += [
            ("Publication", f"{pointer.number} of run {pointer.run_id}, {instant(pointer.published_at)}"),
            ("As of", instant(pointer.as_of)),
        ]
    if run is not None:
        took = duration((run.ended_at - run.started_at).total_seconds())
        pairs += [
            (
                "Last run",
                f"{run.run_id}, {run.status.replace('_', ' ')}, {instant(run.ended_at)}, took {took}",
            ),
            ("Code", f"{run.code_version or 'unknown'}, commit {run.code_commit or 'unknown'}"),
            ("Configuration", f"fingerprint {run.config_fingerprint}"),
        ]
    if fit is not None:
        learned = f"; learned from events before {instant(fit['train_end'])}" if fit["train_end"] else ""
        pairs.append(("Fit", f"{fit['fit_id']}, {fit['method']} of {fit['dimensions']} dimensions{learned}"))
    body: list[Child] = [listed(pairs)]
    if pointer is not None:
        rows: list[list[Child]] = [[name, version] for name, version in sorted(pointer.versions.items())]
        body.append(_folded("Table versions", ["Table", "Version"], rows, (1,)))
    if facts.config:
        values: list[list[Child]] = [[key, tag("code", value)] for key, value in flat(facts.config)]
        body.append(_folded("Configuration of the last run", ["Key", "Value"], values))
    lead = "What it takes to make the same tables again: code, configuration, fit and versions."
    return Section("versions", "Versions and configuration", lead, body)


def flat(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Keys and values of nested sections, dotted.

    >>> list(flat({"sessions": {"gap": "30min", "every_n": None}, "items": None}))
    [('sessions.gap', '30min'), ('sessions.every_n', '–'), ('items', '–')]
    """
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", "–" if value is None else str(value)


def _folded(title: str, columns: list[str], rows: list[list[Child]], numeric: tuple[int, ...] = ()) -> Child:
    shown = table(columns, rows, caption=title, numeric=numeric, head=True)
    return tag("details", tag("summary", title), shown, class_="numbers")
