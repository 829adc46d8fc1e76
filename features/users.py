"""Users: what each one amounts to, and flags for bots and very heavy users.

A flag looks at the user alone, never at a quantile over others, so that it does not change when other
users arrive. Flagged users stay in the data.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.block import EventBlock
from features.durations import UNITS_US

HEAVY: Final = 1
FAST: Final = 2
SLEEPLESS: Final = 4
REASONS: Final = {HEAVY: "heavy", FAST: "fast", SLEEPLESS: "sleepless"}
"""Bits of ``UserRows.reason``."""


@dataclass(frozen=True)
class UserRule:
    """When a user is flagged; all limits are our choice.

    ``heavy``: more than ``max_events`` events. ``fast``, a bot: at least ``fast_gaps`` gaps above zero, half
    of them or more at most ``fast_gap_us``, hence a median that no reader keeps up (a gap of zero is a basket
    or a coarse clock and says nothing). ``sleepless``, a bot: activity without a pause longer than
    ``pause_us`` that spans more than ``awake_us``. ``has_clock=False``: only ``heavy`` can be decided.
    """

    max_events: int = 50_000
    fast_gap_us: int = UNITS_US["s"]
    fast_gaps: int = 200
    pause_us: int = 30 * UNITS_US["min"]
    awake_us: int = 24 * UNITS_US["h"]
    has_clock: bool = True

    def __post_init__(self) -> None:
        for name in ("max_events", "fast_gap_us", "fast_gaps", "pause_us", "awake_us"):
            if getattr(self, name) < 1:
                raise ValueError(f"user rule: {name} = {getattr(self, name)} must be at least 1")


@dataclass(frozen=True)
class UserState:
    """The fold's memory of a user that goes on in the next block; of constant size."""

    first_ts: int  # µs
    last_ts: int  # µs
    awake_since: int  # µs, first event since the last pause
    sleepless: bool
    n_gaps: int  # gaps above zero
    n_fast: int  # of those, at most fast_gap_us


@dataclass(frozen=True)
class UserRows:
    """U users, one place each in every array."""

    user_ids: list[str]  # U
    n_events: NDArray[np.int32]
    n_sessions: NDArray[np.int32]
    first_ts: NDArray[np.int64]  # µs
    last_ts: NDArray[np.int64]  # µs
    reason: NDArray[np.int32]  # sum of the bits that apply; 0: unflagged

    @property
    def is_heavy(self) -> NDArray[np.bool_]:
        """More events than the rule allows; shape (U,)."""
        return (self.reason & HEAVY) > 0

    @property
    def is_bot(self) -> NDArray[np.bool_]:
        """Too fast or too long awake for a person; shape (U,)."""
        return (self.reason & (FAST | SLEEPLESS)) > 0


def summarise_users(
    state: UserState | None, block: EventBlock, rule: UserRule
) -> tuple[UserRows, UserState | None]:
    """One step of the fold: rows of the users that end in this block, and the state of one that does not.

    ``state`` is what the block before returned; ValueError where it does not fit ``block.continued``.
    """
    if (state is not None) != block.continued:
        raise ValueError("a block is continued if and only if the block before left a user's state")
    ts, starts = block.ts, block.offsets[:-1]
    ends = block.offsets[1:] - 1  # each user's last event
    gaps = np.diff(ts, prepend=state.last_ts if state else ts[0])
    gaps[starts[1:] if state else starts] = 0  # a user's first event has no gap

    first_ts = ts[starts]
    n_gaps = _count(gaps > 0, starts)
    n_fast = _count((gaps > 0) & (gaps <= rule.fast_gap_us), starts)
    awake, sleepless = _awake(ts, gaps, block, rule, state)
    if state:
        first_ts[0] = state.first_ts
        n_gaps[0] += state.n_gaps
        n_fast[0] += state.n_fast
        sleepless[0] |= state.sleepless

    n_events = block.ordinal[ends]
    fast = (n_gaps >= rule.fast_gaps) & (2 * n_fast >= n_gaps)
    bits = HEAVY * (n_events > rule.max_events)
    if rule.has_clock:
        bits = bits + FAST * fast + SLEEPLESS * sleepless
    done = len(starts) - block.unfinished
    rows = UserRows(
        user_ids=block.user_ids[:done],
        n_events=n_events[:done],
        n_sessions=block.session[ends][:done],
        first_ts=first_ts[:done],
        last_ts=ts[ends][:done],
        reason=bits[:done].astype(np.int32),
    )
    if not block.unfinished:
        return rows, None
    return rows, UserState(
        first_ts=int(first_ts[-1]),
        last_ts=int(ts[-1]),
        awake_since=awake,
        sleepless=bool(sleepless[-1]),
        n_gaps=int(n_gaps[-1]),
        n_fast=int(n_fast[-1]),
    )


def user_rows(blocks: Iterable[EventBlock], rule: UserRule) -> Iterator[UserRows]:
    """Rows of all users of a stream of blocks; a user cut across blocks comes with its last one."""
    state: UserState | None = None
    for block in blocks:
        rows, state = summarise_users(state, block, rule)
        yield rows


def reasons(reason: int) -> list[str]:
    """The names of the flags in a reason.

    >>> reasons(5)
    ['heavy', 'sleepless']
    """
    return [name for bit, name in REASONS.items() if reason & bit]


def _count(which: NDArray[np.bool_], starts: NDArray[np.int64]) -> Any:
    return np.add.reduceat(which.astype(np.int64), starts)


def _awake(
    ts: NDArray[np.int64],
    gaps: NDArray[np.int64],
    block: EventBlock,
    rule: UserRule,
    state: UserState | None,
) -> tuple[int, NDArray[np.bool_]]:
    """Start (µs) of the last stretch without a pause, and per user whether one stretch is too long."""
    begins = gaps > rule.pause_us
    begins[block.offsets[:-1]] |= True
    if state:
        begins[0] = gaps[0] > rule.pause_us
    starts = np.flatnonzero(begins)
    since = ts[starts]
    if state and not begins[0]:
        starts, since = np.append(0, starts), np.append(state.awake_since, since)
    until = ts[np.append(starts[1:], len(ts)) - 1]
    sleepless: NDArray[np.bool_] = np.zeros(len(block.user_ids), dtype=bool)
    long = starts[until - since > rule.awake_us]
    sleepless[np.searchsorted(block.offsets, long, side="right") - 1] = True
    return int(since[-1]), sleepless
