"""Figures of a sample whose columns are known: users, sessions at several gaps, ties, repeats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from features.durations import parse_duration

GAPS: Final = ("5min", "15min", "30min", "60min", "120min", "4h", "24h")


@dataclass(frozen=True)
class GapFigures:
    """Sessions of the sample under one gap (``gap > limit`` cuts; no cap on their length)."""

    gap: str
    sessions: int
    median_events: float
    mean_events: float
    one_event_share: float


@dataclass(frozen=True)
class Figures:
    """What a sample of events looks like; shares are of its events, times are µs."""

    events: int
    users: int
    items: int
    first_ts: int
    last_ts: int
    events_per_user: dict[str, float]
    equal_times_share: float
    duplicates_share: float
    repeated_items_share: float
    events_per_tick: float
    sessions: tuple[GapFigures, ...]
    source_sessions: int | None = None
    source_sessions_with_gap_share: float | None = None


def measure(user: pd.Series[Any], item: pd.Series[Any], kind: pd.Series[Any] | None, ts: np.ndarray[Any, Any],
            *, session: pd.Series[Any] | None, real_clock: bool) -> Figures:  # fmt: skip
    """Figures of events given as aligned columns; ``kind`` is the event type.

    ``equal_times_share``: events that share their time with another one of their user.
    ``events_per_tick``: median events of a user at one time, which every_n is proposed from where
    the clock gives only an order.
    """
    u, i = pd.factorize(user)[0].astype(np.int64), pd.factorize(item)[0].astype(np.int64)
    k = pd.factorize(kind)[0].astype(np.int64) if kind is not None else np.zeros(len(u), dtype=np.int64)
    order = np.lexsort((ts, u))
    u, i, k, t = u[order], i[order], k[order], ts[order]
    per_user = np.bincount(u)
    same_user = u[1:] == u[:-1]
    same_tick = same_user & (t[1:] == t[:-1])
    tied = np.zeros(len(u), dtype=bool)
    tied[1:] |= same_tick
    tied[:-1] |= same_tick
    ticks = np.diff(np.flatnonzero(np.r_[True, ~same_tick, True]))
    events = pd.DataFrame({"u": u, "i": i, "k": k, "t": t})
    source = _source_sessions(session, order, u, t) if session is not None else (None, None)
    return Figures(
        events=len(u),
        users=len(per_user),
        items=int(i.max()) + 1,
        first_ts=int(ts.min()),
        last_ts=int(ts.max()),
        events_per_user={
            name: float(np.quantile(per_user, q))
            for name, q in (("p10", 0.1), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
        },
        equal_times_share=float(tied.mean()),
        duplicates_share=float(events.duplicated().mean()),
        repeated_items_share=float(events.duplicated(["u", "i"]).mean()),
        events_per_tick=float(np.median(ticks)),
        sessions=tuple(_sessions(same_user, t, gap) for gap in GAPS) if real_clock else (),
        source_sessions=source[0],
        source_sessions_with_gap_share=source[1],
    )


def _sessions(same_user: np.ndarray[Any, Any], t: np.ndarray[Any, Any], gap: str) -> GapFigures:
    starts = np.r_[True, ~same_user | (np.diff(t) > parse_duration(gap))]
    lengths = np.diff(np.r_[np.flatnonzero(starts), len(starts)])
    return GapFigures(
        gap, len(lengths), float(np.median(lengths)), float(lengths.mean()), float((lengths == 1).mean())
    )


def _source_sessions(
    session: pd.Series[Any], order: np.ndarray[Any, Any], u: np.ndarray[Any, Any], t: np.ndarray[Any, Any]
) -> tuple[int, float]:
    """Number of the source's own sessions, and the share of them with a gap over 30 min inside."""
    key = pd.factorize(session)[0].astype(np.int64)[order]
    within = np.lexsort((t, key, u))
    u, key, t = u[within], key[within], t[within]
    same = (u[1:] == u[:-1]) & (key[1:] == key[:-1])
    number = np.cumsum(np.r_[True, ~same]) - 1
    wide = np.unique(number[1:][same & (np.diff(t) > parse_duration("30min"))])
    return int(number[-1]) + 1, len(wide) / (int(number[-1]) + 1)
