"""Columns of a shard's valid events and true sessions, and helpers for runs of equal keys."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.synthetic.settings import CAP_S, GAP_S

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NONE = -1
"""No theme, no lag."""

TYPES = ("pv", "cart", "fav", "buy")
PV, CART, FAV, BUY = range(4)


@dataclass(frozen=True)
class Events:
    """Valid events, ``(n,)`` each, sorted by user and time."""

    user: Ints
    """Index of the user over all shards."""
    session: Ints
    """Row of ``Sessions``."""
    item: Ints
    kind: Ints
    """Index into ``TYPES``."""
    ts: Ints
    """Seconds since 1970."""
    off_theme: Bools


@dataclass(frozen=True)
class Sessions:
    """True sessions, ``(m,)`` each, in the order of their events."""

    user: Ints
    ordinal: Ints
    """From 1 inside a user."""
    size: Ints
    theme: Ints
    """``NONE`` for a bot's."""


def run_starts(key: Ints) -> Ints:
    """First position of each run of equal keys."""
    if len(key) == 0:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.r_[True, key[1:] != key[:-1]]).astype(np.int64)


def within(sizes: Ints) -> Ints:
    """0, 1, 2 … inside each of the consecutive groups of the given sizes."""
    ends = np.cumsum(sizes)
    return np.arange(int(sizes.sum()), dtype=np.int64) - np.repeat(ends - sizes, sizes)


def sums_within(values: Ints, sizes: Ints) -> Ints:
    """Running sums that start anew in each of the consecutive, non-empty groups."""
    total = np.cumsum(values)
    starts = np.cumsum(sizes) - sizes
    return np.asarray(total - np.repeat(total[starts] - values[starts], sizes), dtype=np.int64)


def cut(ts: Ints) -> Ints:
    """Sizes of the sessions of one user's sorted times (seconds): gap > 30 min or span > 24 h cuts."""
    sizes: list[int] = []
    bounds = np.r_[0, np.flatnonzero(np.diff(ts) > GAP_S) + 1, len(ts)]
    for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        first = begin
        while first < end:
            after = first + int(np.searchsorted(ts[first:end], ts[first] + CAP_S, side="right"))
            sizes.append(after - first)
            first = after
    return np.array(sizes, dtype=np.int64)


def returns(user: Ints, theme: Ints) -> tuple[Bools, Bools, Ints]:
    """Truth of hops, returns and lags for sessions in order: ``(is_hop, is_return, lag)``, ``(m,)`` each.

    A hop's theme differs from the one before; a return's occurred earlier; A B A has lag 1, else ``NONE``.
    """
    m = len(user)
    first = np.zeros(m, dtype=np.bool_)
    first[run_starts(user)] = True
    hop = ~first & (theme != np.roll(theme, 1))
    order = np.lexsort((np.arange(m), theme, user))
    again = np.zeros(m, dtype=np.bool_)
    again[1:] = (user[order[1:]] == user[order[:-1]]) & (theme[order[1:]] == theme[order[:-1]])
    previous = np.full(m, NONE, dtype=np.int64)
    previous[order[again]] = order[np.flatnonzero(again) - 1]
    is_return = hop & (previous >= 0)
    return hop, is_return, np.where(is_return, np.arange(m) - previous - 1, NONE)
