"""The report of a run beside its controls: gathered, computed, written as one file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from features.page.html import Child
from features.page.runtime import vega_runtime
from features.page.shell import Section, page
from features.page.table import facts
from training.batch import Batch
from training.command import say
from training.errors import DataError
from training.evaluate.ranks import MEASURES
from training.evaluate.run import answering
from training.evaluate.slices import SLICES
from training.fit.models import is_click
from training.model import as_model
from training.models.mos import MoS
from training.models.mos.ranking import MoSRanker
from training.registry.card import metric_of
from training.report.asked import Asked
from training.report.calibration_section import calibration
from training.report.compare_section import comparison, headline
from training.report.curves_section import curves
from training.report.entry import Contest, differences
from training.report.gather import Bench, Gathered, Run, calibrated, gather, named_users, read_runs
from training.report.names import READ_BATCHES, Names, names_of
from training.report.people import Person, chosen, people
from training.report.people_section import CSS, users
from training.report.ranks_section import ranks
from training.report.slices_section import slices
from training.report.usage import Usage, usage
from training.report.usage_section import used


def write_run_report(run: Path, controls: Sequence[Path], out: Path, bench: Bench) -> dict[str, Any]:
    """Write the report of the run in ``run`` beside ``controls``; a summary of it comes back.

    Raises DataError where a folder holds no run, or the data of one cannot be opened.
    """
    folders = [read_runs(folder) for folder in (run, *controls)]
    labels = _labels(folders)
    gathered = [gather(runs, label, bench) for runs, label in zip(folders, labels, strict=True)]
    contest = contest_of(gathered)
    found = differences(contest)
    named = [naming(one.asked) for one in gathered]
    sections = [
        comparison(contest, found),
        slices(contest),
        curves(contest),
        *_answers(contest, gathered),
        used([(one, names) for one, names in usages(gathered, named)]),
        users(cases(gathered, named), labels[0]),
        _lineage(gathered),
    ]
    title = f"{labels[0]}: which model to trust"
    origin = folders[0][0].origin
    text = page(
        title,
        _subtitle(contest, origin),
        [section for section in sections if section is not None],
        runtime=vega_runtime(),
        banner=headline([contest], [found]),
        css=CSS,
        footer="Written by seqloom (python -m training.report). One file, no network.",
    )
    save(out, text)
    return {
        "report": str(out),
        "bytes": len(text.encode()),
        "models": labels,
        "metric": contest.metric,
        "verdicts": {one.control: one.verdict for one in found if one.part == "all"},
    }


def save(out: Path, text: str) -> None:
    """Write so that a reader sees the whole file or the one before."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"{out.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(out)


def contest_of(gathered: Sequence[Gathered]) -> Contest:
    """The first model against each of the others, by the figure it was chosen by.

    DataError where some rank the catalogue and others given candidates: they have no figure in common.
    """
    first = gathered[0]
    kinds = {is_click(one.asked.config.model) for one in gathered}
    if len(kinds) > 1:
        raise DataError("a click model cannot be held against one that ranks all items: their figures differ")
    asked = metric_of(first.asked.config)
    metric = "auc" if kinds == {True} else asked if asked.split("_")[0] in MEASURES else "ndcg_10"
    entries = [one.entry for one in gathered]
    pairs = [(entries[0].label, other.label) for other in entries[1:]]
    test = first.run.folder.read("test.json")
    whole = None if test is None else int(test["all"]["targets"])
    seen = int(next(iter(first.entry.tests.values()))["all"]["targets"])
    return Contest("test", metric, entries, pairs, whole if whole != seen else None)


def naming(asked: Asked) -> Names:
    """Names of items and categories, and of the model's themes by what their events are about."""
    tagged: dict[str, Sequence[Batch]] = {"theme": asked.batches[:READ_BATCHES]}
    model = asked.model
    if isinstance(model, MoS | MoSRanker) and model.router.stage != 0:
        items = model.embed.item_vectors()
        with answering(as_model(model)):
            tagged["code"] = [
                Batch(model.router.tagged(batch.rows, items), batch.samples)
                for batch in asked.batches[:READ_BATCHES]
            ]
    return names_of(asked.vocabulary, tagged)


def usages(gathered: Sequence[Gathered], named: Sequence[Names]) -> list[tuple[Usage, Names]]:
    """Of every model with several strands."""
    found = []
    for one, names in zip(gathered, named, strict=True):
        say(f"which strands {one.entry.label} rests on …")
        weights = usage(one.asked)
        if weights is not None:
            found.append((weights, names))
    return found


def cases(gathered: Sequence[Gathered], named: Sequence[Names]) -> list[Person]:
    """Instructive users of the first model's test."""
    first = gathered[0]
    frames = {one.entry.label: next(iter(one.entry.frames.values())) for one in gathered}
    own = frames[first.entry.label]
    rival = next(
        (frame for label, frame in frames.items() if label != first.entry.label and len(frame) == len(own)),
        None,
    )
    wanted = [int(own["user"].iloc[place]) for place in chosen(own, rival).values()]
    return people(first.asked, frames, named[0], named_users(first.opened, wanted))


def _answers(contest: Contest, gathered: Sequence[Gathered]) -> list[Section]:
    """Calibration of click models, ranks of the others."""
    if contest.metric != "auc":
        return [ranks(contest)]
    found = {one.entry.label: calibrated(one) for one in gathered}
    models = {label: one for label, one in found.items() if one is not None}
    return [calibration(models)] if models else []


def _labels(folders: Sequence[Sequence[Run]]) -> list[str]:
    """The models' names; with the folder's where two are of one kind."""
    kinds = [runs[0].config.model.name for runs in folders]
    times = Counter(kinds)
    return [
        kind if times[kind] == 1 else f"{kind} ({runs[0].folder.root.name})"
        for kind, runs in zip(kinds, folders, strict=True)
    ]


def _subtitle(contest: Contest, origin: Mapping[str, Any]) -> str:
    frame = next(iter(contest.entries[0].frames.values()))
    splits, targets = origin["splits"], int(SLICES["all"](frame).sum())
    sampled = "" if contest.sampled_of is None else f"of {contest.sampled_of:,} "
    return (
        f"{targets:,} {sampled}test targets from {_moment(splits['valid_end'])} to {_moment(splits['end'])}, "
        f"learned from what was before {_moment(splits['train_end'])}"
    )


def _moment(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M} UTC"


def _lineage(gathered: Sequence[Gathered]) -> Section:
    """Where each model came from."""
    body = [_facts(one) for one in gathered]
    lead = "What it takes to make a model again: python -m training.fit --config RUN/config.toml."
    return Section("lineage", "Where it came from", lead, body)


def _facts(one: Gathered) -> Child:
    origin, config = one.run.origin, one.run.config
    table = origin.get("table", {})
    pairs: list[tuple[str, Child]] = [
        ("model", f"{one.entry.label}, seed {', '.join(map(str, one.entry.frames))}"),
        ("run", str(one.run.folder.root)),
        ("table", f"{table.get('path', origin.get('path'))}, version {one.run.version}"),
        ("publication", f"{table['publication']}, as of {table['as_of']}" if table else "–"),
        ("fit", str(table.get("fit_id", origin.get("fit_id")))),
        ("configuration", config.fingerprint),
        ("code", str(origin.get("code_commit", "–"))),
    ]
    return facts(pairs)
