"""Sessions and user flags again, one event at a time: written from the rules, not from the kernels."""

from itertools import pairwise
from statistics import median_low

from features.sessions import SessionRule
from features.users import UserRule
from tests.strategies import Row


def session_ordinals(rows: list[Row], rule: SessionRule) -> list[tuple[int, int]]:
    """(event ordinal, session ordinal) of each row, both from 1 within the user."""
    out: list[tuple[int, int]] = []
    before: Row | None = None
    start = ordinal = session = 0
    for row in rows:
        ts = row[2]
        if before is None or row[0] != before[0]:
            ordinal, session, new = 0, 0, True
        elif rule.kind == "gap":
            new = ts - before[2] > rule.gap_us or ts - start > rule.max_us
        elif rule.kind == "every_n":
            new = ordinal % rule.every_n == 0
        else:
            new = row[7] != before[7]
        ordinal += 1
        if new:
            session, start = session + 1, ts
        before = row
        out.append((ordinal, session))
    return out


def user_flags(times: list[int], rule: UserRule) -> list[str]:
    """Reasons for which one user's event times (µs, sorted) are flagged."""
    flags = []
    if len(times) > rule.max_events:
        flags.append("heavy")
    gaps = [b - a for a, b in pairwise(times) if b > a]
    if len(gaps) >= rule.fast_gaps and median_low(gaps) <= rule.fast_gap_us:
        flags.append("fast")
    awake = [times[0]]
    for before, ts in pairwise(times):
        awake = [ts] if ts - before > rule.pause_us else [*awake, ts]
        if awake[-1] - awake[0] > rule.awake_us:
            flags.append("sleepless")
            break
    return flags
