"""A profile as text for a person, and as a config with the reasons beside the guesses."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.profile.clock import iso

if TYPE_CHECKING:
    from pipelines.profile.profile import Profile

_CANONICAL = ("user_id", "item_id", "category_id", "event_type", "ts", "event_id", "session_key", "sequence")


def profile_text(profile: "Profile") -> str:
    """Sections: source, columns, guesses, event types, times, users, sessions at several gaps, notes."""
    figures, layout = profile.figures, profile.layout
    shape = layout.format
    if shape == "csv":
        shape += f", delimiter {layout.delimiter!r}, {'with' if layout.header else 'without'} header"
    rows = f"{profile.rows_scanned:,} rows read" + ("" if profile.complete else " (the source has more)")
    blocks = [
        f"{profile.path}: {shape}; {_plural(profile.files, 'file')}, {rows}",
        "columns (of the first rows)\n" + _table(
            ("column", "taken as", "distinct", "null", "example"),
            [(c.name, c.role or "-", f"{c.unique:,}", f"{c.nulls_share:.1%}", c.example)
             for c in profile.columns],
        ),
        "guesses\n" + _table(
            ("setting", "value", "sure", "because"),
            [(g.key, g.value, g.confidence, g.reason) for g in profile.guesses],
        ),
    ]  # fmt: skip
    if profile.event_types:
        kinds = [(t.name, f"{t.rows:,}", t.mode, "" if t.sure else "check") for t in profile.event_types]
        blocks.append("event types\n" + _table(("type", "rows", "mode", ""), kinds))
    blocks.append(_times(profile))
    quantiles = ", ".join(f"{name} {value:,.0f}" for name, value in figures.events_per_user.items())
    blocks.append(
        f"events: {figures.events:,} of {figures.users:,} users on {figures.items:,} items; "
        f"per user: {quantiles}\n"
        f"  sharing their time with another of the same user {figures.equal_times_share:.1%}; "
        f"duplicates {figures.duplicates_share:.2%}; on an item the user had before "
        f"{figures.repeated_items_share:.1%}"
    )
    if figures.sessions:
        by_gap = [
            (
                g.gap,
                f"{g.sessions:,}",
                f"{g.median_events:g}",
                f"{g.mean_events:.2f}",
                f"{g.one_event_share:.1%}",
            )
            for g in figures.sessions
        ]
        blocks.append("sessions (whole users of the sample, no cap on their length)\n" + _table(
            ("gap", "sessions", "median events", "mean", "of one event"), by_gap))  # fmt: skip
    if figures.source_sessions is not None:
        blocks.append(
            f"the source's own sessions: {figures.source_sessions:,}, of which "
            f"{figures.source_sessions_with_gap_share or 0:.1%} hold a gap over 30 min"
        )
    faults = [f"{count:,} rows: {reason}" for reason, count in (profile.faults | profile.unusable).items()]
    if faults or profile.notes:
        blocks.append("mind\n" + "\n".join(f"  - {line}" for line in (*faults, *profile.notes)))
    return "\n\n".join(blocks)


def _times(profile: "Profile") -> str:
    figures = profile.figures
    if profile.resolution == "none":
        return f"order: {figures.first_ts // 1_000_000} to {figures.last_ts // 1_000_000} (no times)"
    lines = [f"times: {iso(figures.first_ts)} to {iso(figures.last_ts)}, ticking in {profile.resolution}"]
    if profile.window is not None:
        lines.append(
            f"  {profile.window.before:,} events before {iso(profile.window.start)} and "
            f"{profile.window.after:,} from {iso(profile.window.end)} on lie outside the bulk (left out here)"
        )
    return "\n".join(lines)


def profile_toml(profile: "Profile") -> str:
    """A config that load_config accepts; a comment on each guess, ``check`` where it is a mere default."""
    names = _field_names(profile)
    said = {guess.key: f"{guess.confidence}: {guess.reason}" for guess in profile.guesses}
    layout, roles = profile.layout, {role: names[name] for role, name in profile.roles.items()}
    stem = re.sub(r"[^a-z0-9]+", "-", Path(profile.path).name.split(".")[0].lower()).strip("-") or "source"
    lines = [
        f"# Proposed by --dry-run from {profile.rows_scanned:,} rows: read the comments before you trust it.",
        f"warehouse = {_text(f'warehouse/{stem}')}",
        "",
        "[source]",
        f"path = {_text(profile.path)}",
        f'format = "{layout.format}"',
    ]
    if layout.format == "csv" and not layout.header:
        listed = ", ".join(_text(names[name]) for name in layout.names)
        lines += ["header = false", f"field_names = [{listed}]"]
    if layout.format == "csv" and layout.delimiter != ",":
        lines.append(f"delimiter = {_text(layout.delimiter)}")
    lines.append(f'ts_unit = "{profile.ts_unit}"')
    if profile.clock == "ordinal":
        lines.append(_noted('clock = "ordinal"', "the times give an order only"))
    lines += ["", "[source.columns]"]
    for role in _CANONICAL:
        if role in roles:
            line = _noted(f"{role} = {_text(roles[role])}", said[role])
            # mapped, it would change nothing under the gap rule
            lines.append(f"# {line} (for [sessions] rule)" if role == "session_key" else line)
    if "category_id" not in roles:
        lines.append("# no category_id found: an [items] table may bring categories")
    if "event_type" not in roles:
        lines.append("# no event_type found: every event counts as browse")
    lines += [*_event_types(profile), *_window(profile), *_sessions(profile), *_gates(profile)]
    return "\n".join(lines) + "\n"


def _field_names(profile: "Profile") -> dict[str, str]:
    """Name in the profile → name in the config; guessed columns of a headerless csv are named by role."""
    if any(not name.startswith("column_") for name in profile.layout.names):
        return {name: name for name in profile.layout.names} | {n: n for n in profile.roles.values()}
    roles = {name: role for role, name in profile.roles.items()}
    return {name: roles.get(name, name) for name in profile.layout.names}


def _event_types(profile: "Profile") -> list[str]:
    if not profile.event_types:
        return []
    lines = ["", "[source.event_types] # a type that is not listed is rejected"]
    for kind in profile.event_types:
        key = kind.name if re.fullmatch(r"[A-Za-z0-9_-]+", kind.name) else _text(kind.name)
        comment = f"{kind.rows:,} rows" + ("" if kind.sure else "; check: its name says no mode")
        lines.append(_noted(f'{key} = "{kind.mode}"', comment))
    return lines


def _window(profile: "Profile") -> list[str]:
    """Only ends beyond which something lies: an end of a log that still grows would refuse its future."""
    window = profile.window
    if window is None:
        return []
    lines = ["", "[source.window] # outside it events are rejected as out_of_window"]
    for key, at, outside in (("start", window.start, window.before), ("end", window.end, window.after)):
        side = "before" if key == "start" else "after"
        why = f"check: {outside:,} events of the sample lie far {side} it"
        if not outside:
            lines.append(f'# {key} = "{iso(at)}" # nothing lies {side} it')
        elif not profile.complete:
            lines.append(f'# {key} = "{iso(at)}" # unsure, as not all rows were read; {why}')
        else:
            lines.append(_noted(f'{key} = "{iso(at)}"', why))
    return lines


def _sessions(profile: "Profile") -> list[str]:
    lines = ["", "[sessions]"]
    if profile.clock == "ordinal":
        n = min(50, max(5, math.ceil(profile.figures.events_per_tick)))
        return [*lines, 'rule = "every_n"', _noted(f"every_n = {n}", "check: a guess between 5 and 50")]
    at = next(g for g in profile.figures.sessions if g.gap == "30min")
    why = f"sample: {at.sessions:,} sessions of {at.mean_events:.1f} events, {at.one_event_share:.0%} of one"
    lines.append(_noted('gap = "30min"', why))
    if "session_key" in profile.roles:
        lines.append('# rule = "source_key" # uses the source\'s own sessions; map session_key above')
    return lines


def _gates(profile: "Profile") -> list[str]:
    lost = sum(profile.faults.values()) / max(1, profile.rows_scanned)
    window = profile.window
    sampled = profile.figures.events + sum(profile.unusable.values())
    lost += (sum(profile.unusable.values()) + (window.before + window.after if window else 0)) / sampled
    if lost <= 0.01:
        return []
    share = min(1.0, math.ceil(lost * 110) / 100)
    why = f"about {lost:.1%} of the rows cannot be used, and the default 0.01 would stop the job"
    return ["", "# [gates]", f"# max_rejected_share = {share} # {why}"]


def _noted(line: str, comment: str) -> str:
    return f"{line} # {' '.join(comment.split())}"


def _text(value: str) -> str:
    """A TOML basic string."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    cells = [[_printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(header))]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _printable(cell: Any) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in str(cell))
