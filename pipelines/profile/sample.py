"""A bounded sample of an unknown log: its first rows, then whole users out of as many as can be scanned."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
import pandas as pd

from pipelines.errors import SourceError
from pipelines.profile.batches import Faults, Layout, read_batches, split_rows
from pipelines.profile.clock import looks_like_time
from pipelines.profile.files import Found, head

HEAD_ROWS: Final = 200_000
SCAN_ROWS: Final = {"csv": 1_000_000, "jsonl": 500_000, "parquet": 10_000_000, "delta": 10_000_000}
"""Rows that take a few seconds to read."""
_DELIMITERS: Final = (",", "\t", ";", "|", "\x01", "::", " ")


@dataclass(frozen=True)
class Sample:
    """Rows of the log: ``frame`` is the first rows, or whole users among the rows scanned.

    ``complete`` says that every row of the source was scanned; else the last users, and in a log
    ordered by time everybody's later events, are missing.
    """

    frame: pd.DataFrame
    scanned: int
    complete: bool
    faults: dict[str, int]
    user_share: float = 1.0


def guess_layout(found: Found, field_names: Sequence[str] | None = None) -> Layout:
    """Delimiter, header and column names; columns of a csv without header are ``column_1`` and so on.

    Raises SourceError for a text of one column, or of a header alone.
    """
    if found.format != "csv":
        first = next((f for f in read_batches(found, Layout(found.format, ()), Faults()) if len(f)), None)
        if first is None:
            raise SourceError(f"{found.root}: no rows could be read as {found.format}")
        return Layout(found.format, tuple(first.columns))
    file = found.files[0]
    raw = head(file)
    lines = raw.decode("utf-8-sig", errors="replace").splitlines(keepends=True)
    if len(lines) > 1 and len(raw) == 65_536:
        lines = lines[:-1]  # cut in two by the limit
    delimiter, rows = _guess_delimiter(lines, str(file))
    if field_names is not None:
        return Layout("csv", tuple(field_names), delimiter, header=False)
    if not _is_header(rows):
        names = tuple(f"column_{n}" for n in range(1, len(rows[0]) + 1))
        return Layout("csv", names, delimiter, header=False)
    if len(rows) == 1:
        raise SourceError(f"{file}: a header without rows; columns: {', '.join(rows[0])}")
    if len(set(rows[0])) < len(rows[0]):
        raise SourceError(f"{file}: the header names a column twice: {', '.join(rows[0])}")
    return Layout("csv", tuple(rows[0]), delimiter, header=True)


def _guess_delimiter(lines: list[str], where: str) -> tuple[str, list[list[str]]]:
    best: tuple[float, str, list[list[str]]] | None = None
    for delimiter in _DELIMITERS:
        try:
            rows = [row for row in islice(split_rows(lines, delimiter), 500) if row]
        except csv.Error:
            continue
        if not rows:
            continue
        width, agreeing = Counter(len(row) for row in rows).most_common(1)[0]
        # 2021-01-01 10:00:00 makes a space look like a delimiter too: it must win clearly
        score = agreeing / len(rows) + 0.001 * min(width, 50) - (0.2 if delimiter == " " else 0)
        if width >= 2 and agreeing / len(rows) >= 0.5 and (best is None or score > best[0]):
            best = (score, delimiter, [row for row in rows if len(row) == width])
    if best is None:
        raise SourceError(
            f"{where}: no delimiter splits it into columns (tried comma, tab, ; | :: and space); "
            f"its first line is {lines[0].strip()[:80]!r}"
        )
    return best[1], best[2]


def _is_header(rows: list[list[str]]) -> bool:
    """The first row names columns: no number or time in it, and nothing that its column repeats."""
    first, rest = rows[0], rows[1:]
    if any(_is_value(cell) for cell in first):
        return False
    if not rest:
        return True
    columns = list(zip(*rest, strict=True))
    if any(cell in column for cell, column in zip(first, columns, strict=True)):
        return False
    return any(sum(_is_value(cell) for cell in column) >= 0.5 * len(column) for column in columns)


def _is_value(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return not cell or looks_like_time(cell)
    return True


def read_head(found: Found, layout: Layout, rows: int = HEAD_ROWS) -> Sample:
    """The first rows with all columns."""
    faults = Faults()
    frames: list[pd.DataFrame] = []
    have, complete = 0, True
    for frame in read_batches(found, layout, faults):
        if have >= rows:
            complete = False
            break
        frames.append(frame)
        have += len(frame)
    if not have:
        what = ", ".join(f"{n} rows with {reason}" for reason, n in faults.counts.items() if n)
        raise SourceError(f"{found.root}: no row could be read{f' ({what})' if what else ''}")
    return Sample(pd.concat(frames, ignore_index=True), have, complete, _counts(faults))


def read_users(found: Found, layout: Layout, user: str, columns: list[str], scan: int) -> Sample:
    """Whole users among the first ``scan`` rows, thinned by a hash of the user to ``HEAD_ROWS`` rows.

    Only ``columns`` are kept. The first rows of a log ordered by time would cut almost every user off.
    """
    faults = Faults()
    kept: list[tuple[np.ndarray[Any, Any], pd.DataFrame]] = []
    limit, have, scanned, complete = np.uint64(2**63), 0, 0, True
    for batch in read_batches(found, layout, faults, columns):
        if scanned >= scan:
            complete = False
            break
        scanned += len(batch)
        frame = batch.reindex(columns=columns)
        names = frame[user].astype(str).to_numpy(dtype=object)
        hashes = pd.util.hash_array(names) >> np.uint64(1)
        kept.append(_below(hashes, frame, limit))
        have += len(kept[-1][1])
        while have > HEAD_ROWS and limit > 2**40:
            limit = limit // np.uint64(2)
            kept = [_below(*pair, limit) for pair in kept]
            have = sum(len(pair[1]) for pair in kept)
    frame = pd.concat([pair[1] for pair in kept], ignore_index=True)
    return Sample(frame, scanned, complete, _counts(faults), float(limit) / 2**63)


def _below(
    hashes: np.ndarray[Any, Any], frame: pd.DataFrame, limit: np.uint64
) -> tuple[np.ndarray[Any, Any], pd.DataFrame]:
    chosen = hashes < limit
    return hashes[chosen], frame[chosen]


def _counts(faults: Faults) -> dict[str, int]:
    return {reason: count for reason, count in faults.counts.items() if count}
