"""The demo's figures on one screen of a terminal, 80 columns wide; plain text where it is no terminal."""

from collections.abc import Mapping
from typing import IO, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.demo.read import Demo
from pipelines.demo.strip import WIDTH, reach_of, strip

COLUMNS = 80
SLICES = {
    "all": "all targets",
    "first_of_session": "first of session",
    "first_after_return": "first after a return",
    "within_session": "within a session",
}


def show(demo: Demo, file: IO[str]) -> None:
    """Write the closing summary; colours only where ``file`` is a terminal and NO_COLOR is not set."""
    console = Console(file=file, width=COLUMNS, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        _print(console, demo)
    file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
    file.flush()


def _print(console: Console, demo: Demo) -> None:
    seconds = sum(demo.build["seconds"].values())
    _heading(console, "Tables", f"built in {seconds:.0f} s: {demo.folder}/warehouse")
    console.print(_tables(demo))
    _heading(console, "Found of the known truth", "the generator wrote it beside the events")
    console.print(_truth(demo))
    console.print(_evidence(demo))
    if demo.contest is not None:
        _show_contest(console, demo, demo.contest)
    if demo.scored is not None:
        scored = (
            f"{demo.scored['users']:,} users scored by {demo.scored['model']} v{demo.scored['model_version']}"
        )
        console.print(Text(f"  {scored}"))
    _heading(console, "Look at it", "")
    for of, path in demo.reports.items():
        _pair(console, of, str(path))
    _pair(console, "status", "make status")
    _pair(console, "your own", "README.md, 'Your own logs'")
    console.print()


def _heading(console: Console, title: str, note: str) -> None:
    line = Text(f"\n{title}", style="bold cyan")
    if note:
        line.append(f"  {note}", style="dim not bold")
    _unbroken(console, line)


def _pair(console: Console, name: str, value: str) -> None:
    _unbroken(console, Text.assemble((f"  {name:<12}", "dim"), value))


def _unbroken(console: Console, line: Text) -> None:
    """One line however long, so that a path can be copied; print() does not heed the text's own no_wrap."""
    console.print(line, no_wrap=True, overflow="ignore", crop=False)


def _tables(demo: Demo) -> Table:
    build = demo.build
    refused = sum(build["rejected"].values())
    notes = {
        "bronze/events": f"{build['events_in']:,} read, {build['duplicates']:,} of them duplicates",
        "bronze/events_rejected": f"refused, for {len(build['rejected'])} reasons" if refused else "",
        "silver/sessions": f"of {build['users']:,} users",
        "silver/themes": "learned from the sessions",
        "gold/user_sequences": "tensors to train on",
    }
    table = _grid(("left", 24), ("right", 9), ("left", 43))
    for name, rows in demo.rows.items():
        table.add_row(f"  {name}", f"{rows:,}", Text(notes[name], style="dim"))
    return table


def _truth(demo: Demo) -> Table:
    truth, build, true = demo.truth, demo.build, demo.generated
    table = _grid(("left", 14), ("right", 9), ("right", 9), ("left", 44))
    table.add_row("", Text("found", style="dim"), Text("true", style="dim"), "")
    returns = truth["returns_found"] / max(truth["returns_true"], 1)
    exact = truth["sessions_exact"] == truth["sessions_true"] == truth["sessions_found"]
    rows: list[tuple[str, int, int, str]] = [
        (
            "sessions",
            truth["sessions_found"],
            truth["sessions_true"],
            "every one exactly right" if exact else f"{truth['sessions_exact']:,} exactly right",
        ),
        (
            "hops",
            build["hops"],
            true["hops"],
            f"precision {truth['hop_precision']:.1%}, recall {truth['hop_recall']:.1%}",
        ),
        (
            "returns",
            build["returns"],
            true["returns"],
            f"{returns:.1%} of the true ones, {truth['return_lag_right']:.1%} with their lag",
        ),
        (
            "themes",
            build["themes"],
            true["settings"]["themes"],
            f"sessions of 3+ events agree: ARI {truth['theme_ari']:.3f}",
        ),
    ]
    for name, found, known, note in rows:
        table.add_row(f"  {name}", f"{found:,}", f"{known:,}", Text(note, style="dim"))
    return table


def _evidence(demo: Demo) -> Text:
    """Is hopping real in these events? Similarities of category histograms."""
    found = demo.build["evidence"]["categories"]
    within, adjacent, random = (found[name]["mean"] for name in ("within", "adjacent", "random_users"))
    return Text(
        f"  interests alike: {within:.2f} within a session, {adjacent:.2f} to the next, "
        f"{random:.2f} to strangers",
        style="dim",
    )


def _show_contest(console: Console, demo: Demo, contest: Mapping[str, Any]) -> None:
    """Challenger against rivals, slice by slice, and the decision."""
    metric, window = contest["rule"]["metric"], contest["window"]
    kinds = {f"v{line['version']}": line["model"] for line in demo.models}
    challenger = f"v{contest['version']}"
    users = f"{window['targets']:,} held-out targets, {window['users']:,} users"
    _heading(console, "Models", f"{_metric(metric)} on {users}")
    for difference in contest["differences"]:
        console.print(_contest_table(contest, difference, kinds, challenger))
    promoted = contest["decision"] in ("promoted", "first")
    name = kinds.get(challenger, challenger)
    champion = kinds.get(f"v{contest['champion']}", f"v{contest['champion']}")
    stays = f"  {name} was not promoted, {champion} stays champion: {_why_not(contest)}"
    sentence = f"  {name} was promoted: it is the champion now" if promoted else stays
    console.print(Text(sentence, style="green" if promoted else "yellow"))


def _why_not(contest: Mapping[str, Any]) -> str:
    """Why a challenger was not promoted, in the rule's own words and without figures."""
    reasons = [str(reason).split(":")[0] for reason in contest["reasons"]]
    return reasons[0] if reasons else "no reason was given"


def _contest_table(
    contest: Mapping[str, Any], difference: Mapping[str, Any], kinds: Mapping[str, str], challenger: str
) -> Table:
    rival = str(difference["rival"])
    ours, theirs = contest["figures"][challenger], contest["figures"][rival]
    intervals = {"all": difference["all"]} | difference["guarded"]
    shown = {name: found for name, found in intervals.items() if found is not None and name in SLICES}
    reach = 1.05 * reach_of([(found["low"], found["high"]) for found in shown.values()])
    table = _grid(("left", 22), ("right", 6), ("right", 6), ("right", 26), ("left", WIDTH))
    heads = (
        "",
        kinds.get(rival.rsplit(maxsplit=1)[-1], rival),
        kinds.get(challenger, challenger),
        "difference, interval",
    )
    scale = f"{'worse':<{WIDTH // 2}}{'better':>{WIDTH - WIDTH // 2}}"
    table.add_row(*(Text(head, style="dim") for head in heads), Text(scale, style="dim"))
    for name, found in shown.items():
        style = "green" if found["low"] > 0 else "red" if found["high"] < 0 else "default"
        table.add_row(
            f"  {SLICES[name]}",
            f"{theirs[name]:.4f}",
            f"{ours[name]:.4f}",
            Text(f"{found['estimate']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]", style=style),
            Text(strip(found["low"], found["estimate"], found["high"], reach), style=style),
        )
    return table


def _metric(name: str) -> str:
    kind, _, k = name.rpartition("_")
    return f"{kind.upper()}@{k}" if k.isdigit() else name


def _grid(*columns: tuple[str, int]) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    for justify, width in columns:
        table.add_column(justify=justify, width=width, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    return table
