"""The report of a grid: every data set's models over their seeds, the pairs that were to be compared."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from features.page.html import Child, tag
from features.page.runtime import vega_runtime
from features.page.shell import Section, page
from training.command import say
from training.errors import TrainingError
from training.evaluate.experiment import MODEL_FACTS, Results
from training.evaluate.run import Summary
from training.experiments.config import load_grid
from training.fit.run_folder import RunFolder
from training.report.compare_section import comparison, headline
from training.report.curves_section import curves
from training.report.entry import Contest, Entry, differences
from training.report.gather import Bench, Gathered, gather, read_runs
from training.report.people_section import CSS, users
from training.report.ranks_section import ranks
from training.report.slices_section import slices
from training.report.usage_section import used
from training.report.write import cases, naming, save, usages

CONTROLS: Final[Mapping[str, Sequence[str]]] = {
    "mos": ("sasrec", "sasrec_matched"),
    "mos_fused": ("sasrec", "sasrec_matched"),
    "cmsl": ("cmsl_single",),
    "ulim": ("ulim_global",),
    "mos_click": ("din", "sasrec_click"),
    "cmsl_click": ("cmsl_click_single",),
}
"""Each multi-sequence model's single-sequence controls, as the README names them."""

PARTS: Final = ("all", "first_of_session", "first_after_return", "within_session")


def is_grid(folder: Path) -> bool:
    """Whether a folder is a grid's output."""
    return (folder / "results").is_dir()


def write_grid_report(folder: Path, config: Path | None, out: Path, bench: Bench) -> dict[str, Any]:
    """Write the report of the grid in ``folder``; ``config`` names what it compares, else the known pairs."""
    results = Results(folder / "results")
    table = results.table()
    grid = None if config is None else load_grid(config)
    contests, found, sections = [], [], list[Section | None]()
    for data in table["data"].unique().tolist():
        say(f"intervals on {data} …")
        named = [(one.model, one.control) for one in grid.comparisons] if grid is not None else None
        contest = read_contest(folder, results, data, grid.metric if grid else None, named)
        parts = [part for part in PARTS if part in contest.slices]
        own = differences(contest, parts)
        contests.append(contest)
        found.append(own)
        sections += [
            comparison(contest, own, f"data-{data}"),
            slices(contest, f"slices-{data}", parts),
            curves(contest, f"learning-{data}"),
            ranks(contest, f"ranks-{data}") if contest.metric != "auc" else None,
        ]
    sections += _of_weights(folder, contests, bench)
    text = page(
        f"{folder.resolve().name}: which model to trust",
        f"A grid of {table['model'].nunique()} models on {', '.join(contest.data for contest in contests)}, "
        f"each under up to {table['seed'].nunique()} seeds",
        [_titled(section) for section in sections if section is not None],
        runtime=vega_runtime(),
        banner=headline(contests, found),
        css=CSS,
        footer="Written by seqloom (python -m training.report). One file, no network.",
    )
    save(out, text)
    return {"report": str(out), "bytes": len(text.encode()), "data": [one.data for one in contests]}


def read_contest(
    folder: Path, results: Results, data: str, metric: str | None, pairs: Sequence[tuple[str, str]] | None
) -> Contest:
    """All models on one data set, as the grid kept them; pairs of models that are both there."""
    models = _ordered({cell.model for cell in results.cells(data)}, pairs or ())
    entries = [_entry(folder, results, data, model) for model in models]
    frame = next(iter(entries[0].frames.values()))
    chosen = metric or ("hr_10" if "rank" in frame else "auc")
    known = pairs or [(model, control) for model, controls in CONTROLS.items() for control in controls]
    there = [pair for pair in dict.fromkeys(known) if set(pair) <= set(models)]
    return Contest(data, chosen if "rank" in frame else "auc", entries, there)


def _ordered(models: Iterable[str], pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Those that are to be better first, in the order in which they are named; the rest by name."""
    first = [*(model for model, _ in pairs), *CONTROLS]
    return sorted(models, key=lambda name: (first.index(name) if name in first else len(first), name))


def _entry(folder: Path, results: Results, data: str, model: str) -> Entry:
    table = results.table()
    own = table[(table["data"] == data) & (table["model"] == model)]
    tests: dict[int, Summary] = {}
    for row in own[own["slice"] != MODEL_FACTS].to_dict("records"):
        tests.setdefault(int(row["seed"]), {}).setdefault(row["slice"], {})[row["metric"]] = float(
            row["value"]
        )
    facts = own[own["slice"] == MODEL_FACTS].groupby("metric")["value"].mean().to_dict()
    histories = {
        seed: history
        for seed in tests
        if (history := RunFolder(folder / "runs" / data / model / str(seed)).history())
    }
    return Entry(model, results.frames(data, model), tests, histories, facts)


def _of_weights(folder: Path, contests: Sequence[Contest], bench: Bench) -> list[Section | None]:
    """Usage and users of the first data set whose weights and tables are still there."""
    why: list[Child] = []
    for contest in contests:
        gathered: list[Gathered] = []
        for entry in contest.entries:
            place = folder / "runs" / contest.data / entry.label
            if entry.label not in {name for pair in contest.pairs for name in pair} or not place.is_dir():
                continue
            try:
                one = gather(read_runs(place)[:1], entry.label, bench)
            except (TrainingError, OSError) as error:
                why.append(tag("p", f"{contest.data}, {entry.label}: {error}", class_="note"))
                break
            gathered.append(one)
        if gathered:
            named = [naming(one.asked) for one in gathered]
            return [used(usages(gathered, named)), users(cases(gathered, named), gathered[0].entry.label)]
    lead = "What strands carry, and users with their recommendations, need a run's weights and its tables."
    return [Section("usage", "Strands and experts", lead, why)]


def _titled(section: Section) -> Section:
    """Sections of several data sets say which in the navigation."""
    kind, _, data = section.identifier.partition("-")
    if kind not in ("slices", "learning", "ranks") or not data:
        return section
    return Section(section.identifier, f"{section.title}: {data}", section.lead, section.body)
