"""Sessions: a streaming fold that cuts sorted events into runs of one visit each."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.assemble import assemble
from features.block import EventBlock
from features.durations import UNITS_US, parse_duration

SessionKind = Literal["gap", "every_n", "source_key"]


@dataclass(frozen=True)
class SessionRule:
    """Where a session ends (our choice; 30 minutes and 24 hours are what the field mostly uses).

    ``gap``: between two events more than ``gap_us`` apart (a gap equal to the limit does not cut),
    and greedily before the first event more than ``max_us`` after the session's first one.
    ``every_n``: after every N events of a user, for sources without a usable clock.
    ``source_key``: where the source's own key changes; a missing key equals a missing key only.
    """

    kind: SessionKind = "gap"
    gap_us: int = 30 * UNITS_US["min"]
    max_us: int = 24 * UNITS_US["h"]
    every_n: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(SessionKind):
            raise ValueError(
                f"session rule {self.kind!r} is unknown; known: {', '.join(get_args(SessionKind))}"
            )
        if self.kind == "gap" and not 0 < self.gap_us <= self.max_us:
            raise ValueError(
                f"session gap of {self.gap_us} µs must be above 0 and at most the session maximum of "
                f"{self.max_us} µs"
            )
        if self.kind == "every_n" and self.every_n < 1:
            raise ValueError(f"every_n = {self.every_n}: a session needs at least 1 event")

    @classmethod
    def parse(cls, kind: SessionKind, gap: str, longest: str, every_n: int | None) -> Self:
        """The rule of a configuration's ``[sessions]``, whose durations carry their unit."""
        return cls(kind, parse_duration(gap), parse_duration(longest), every_n or 0)


@dataclass(frozen=True)
class SessionState:
    """What the fold knows of the user it read last: enough to place that user's next event."""

    user_id: str
    n_events: int
    n_sessions: int
    start_ts: int  # µs, of the open session's first event
    last_ts: int  # µs
    last_key: str | None


def sessionize(
    batches: Iterable[pa.RecordBatch], rule: SessionRule, block_events: int = 65_536
) -> Iterator[EventBlock]:
    """Cut a sorted stream of events into sessions, in blocks of whole sessions.

    Batches have the schema ``ENCODED_EVENTS``, are sorted by user and order, and may cut a user or a
    session anywhere: the blocks are the same for every cut. A block holds as many whole users as fit
    into ``block_events``; a user with more events is cut between sessions, a session with more is a
    block of its own. Memory is of the order of one batch, one block and the largest session. ValueError
    where a user's ts decreases or a column holds nulls.
    """
    return assemble(_pieces(batches, rule), block_events)


def sessionize_batch(
    state: SessionState | None, batch: pa.RecordBatch, rule: SessionRule
) -> tuple[EventBlock, SessionState]:
    """One step of the fold: the batch (not empty) with its ordinals, and the state behind it.

    The result is a block but for its edges: its first and last session may be cut by the batch.
    """
    for name in ("user_id", "event_id", "ts"):
        if batch.column(name).null_count:
            raise ValueError(f"events: column {name} holds nulls; reject such rows before sessions are cut")
    users, ts = batch.column("user_id"), _numbers(batch, "ts")
    begins = _changes(users)
    begins[0] = state is None or users[0].as_py() != state.user_id
    open_state = None if begins[0] else state
    _check_order(batch, ts, begins, open_state)

    first = np.flatnonzero(begins)
    starts = first if begins[0] else np.append(0, first)
    lengths = np.diff(starts, append=len(ts))
    seen = np.zeros(len(starts), dtype=np.int64)  # events of the user before this batch
    seen[0] = open_state.n_events if open_state else 0
    ordinal = np.arange(1, len(ts) + 1) + np.repeat(seen - starts, lengths)
    keys = batch.column("session_key")
    cuts = _cuts(ts, begins, ordinal, keys, rule=rule, state=open_state)

    counted = np.cumsum(cuts)
    before = counted[starts] - cuts[starts]
    before[0] -= open_state.n_sessions if open_state else 0
    session = counted - np.repeat(before, lengths)
    user_ids = users.take(pa.array(starts)).to_pylist()
    last_cut = int(np.flatnonzero(cuts)[-1]) if counted[-1] else -1
    block = EventBlock(
        user_ids=user_ids,
        offsets=np.append(starts, len(ts)),
        event_id=batch.column("event_id"),
        ts=ts,
        item=_numbers(batch, "item"),
        category=_numbers(batch, "category"),
        type=_numbers(batch, "type"),
        mode=_numbers(batch, "mode"),
        ordinal=ordinal.astype(np.int32),
        session=session.astype(np.int32),
        continued=open_state is not None,
        unfinished=False,
    )
    return block, SessionState(
        user_id=user_ids[-1],
        n_events=int(ordinal[-1]),
        n_sessions=int(session[-1]),
        start_ts=open_state.start_ts if open_state and last_cut < 0 else int(ts[last_cut]),
        last_ts=int(ts[-1]),
        last_key=keys[-1].as_py(),
    )


def session_ordinals(
    ts: NDArray[np.int64], begins: NDArray[np.bool_], rule: SessionRule
) -> NDArray[np.int32]:
    """Session ordinals (from 1 in each user) of whole users' sorted events; shape (events,).

    ``begins`` marks each user's first event. The flat form of ``sessionize``, for a rule that needs no key.
    """
    if rule.kind == "source_key":
        raise ValueError("the session rule source_key needs the events' session_key")
    if not len(ts):
        return np.zeros(0, dtype=np.int32)
    first = np.flatnonzero(begins)
    lengths = np.diff(first, append=len(ts))
    ordinal = np.arange(1, len(ts) + 1) - np.repeat(first, lengths)
    counted = np.cumsum(_cuts(ts, begins, ordinal, None, rule=rule, state=None))
    return (counted - np.repeat(counted[first] - 1, lengths)).astype(np.int32)


def user_sessions(
    ts: NDArray[np.int64], rule: SessionRule, session_key: pa.Array | None = None
) -> NDArray[np.int32]:
    """Session ordinals (from 1) of one user's sorted events, as the fold gives them; shape (events,).

    For serving, where a request carries one history. ``session_key`` is needed by its rule only.
    """
    if rule.kind == "source_key" and session_key is None:
        raise ValueError("the session rule source_key needs the events' session_key")
    n = len(ts)
    if n == 0:
        return np.zeros(0, dtype=np.int32)
    if (ts[1:] < ts[:-1]).any():
        raise ValueError("ts decreases within the user; sort the history by ts first")
    begins: NDArray[np.bool_] = np.arange(n) == 0
    cuts = _cuts(ts, begins, np.arange(1, n + 1), session_key, rule=rule, state=None)
    return np.cumsum(cuts).astype(np.int32)


def opens_session(
    rule: SessionRule,
    at: int,
    last_ts: NDArray[np.int64],
    start_ts: NDArray[np.int64],
    n_events: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Whether an event at ``at`` (µs) would open a session behind each of U histories; shape (U,).

    ``last_ts`` and ``start_ts`` (µs) are those of the last event and of its session's first one, ``n_events``
    the history's length, at least 1. What key the source will give is not known: under ``source_key`` the
    gap decides (our choice).
    """
    if rule.kind == "every_n":
        cuts: NDArray[np.bool_] = n_events % rule.every_n == 0
        return cuts
    apart: NDArray[np.bool_] = at - last_ts > rule.gap_us
    return apart | (at - start_ts > rule.max_us) if rule.kind == "gap" else apart


def session_ids(block: EventBlock) -> list[str]:
    r"""The id of each session of the block: md5 of ``user_id + "\x1f" + first event_id``, in hex.

    Stable when other users or later events arrive; Spark's ``md5(concat_ws(...))`` gives the same.
    """
    starts = block.session_starts()
    owner = np.searchsorted(block.offsets, starts, side="right") - 1
    events = block.event_id.take(pa.array(starts)).to_pylist()
    return [
        hashlib.md5(f"{block.user_ids[user]}\x1f{event}".encode(), usedforsecurity=False).hexdigest()
        for user, event in zip(owner.tolist(), events, strict=True)
    ]


def _pieces(batches: Iterable[pa.RecordBatch], rule: SessionRule) -> Iterator[EventBlock]:
    state: SessionState | None = None
    for batch in batches:
        if batch.num_rows:
            piece, state = sessionize_batch(state, batch, rule)
            yield piece


def _cuts(
    ts: NDArray[np.int64],
    begins: NDArray[np.bool_],
    ordinal: NDArray[np.int64],
    session_key: pa.Array | None,
    *,
    rule: SessionRule,
    state: SessionState | None,
) -> NDArray[np.bool_]:
    """Whether a session starts at each event; ``state`` is that of the first event's user, if open."""
    if rule.kind == "every_n":
        cuts: NDArray[np.bool_] = (ordinal - 1) % rule.every_n == 0
        return begins | cuts
    if rule.kind == "source_key":
        return begins | _key_changes(session_key, state)
    return _gap_cuts(ts, begins, rule, state)


def _gap_cuts(
    ts: NDArray[np.int64], begins: NDArray[np.bool_], rule: SessionRule, state: SessionState | None
) -> NDArray[np.bool_]:
    cuts: NDArray[np.bool_] = begins | (np.diff(ts, prepend=state.last_ts if state else ts[0]) > rule.gap_us)
    starts = np.flatnonzero(cuts)
    origins = ts[starts]
    if state and not cuts[0]:  # the open session goes on
        starts, origins = np.append(0, starts), np.append(state.start_ts, origins)
    ends = np.append(starts[1:], len(ts))
    # Only runs that span more than the cap need the greedy, sequential cut: one search per session.
    for run in np.flatnonzero(ts[ends - 1] - origins > rule.max_us).tolist():
        at, end, origin = int(starts[run]), int(ends[run]), int(origins[run])
        while (at := at + int(np.searchsorted(ts[at:end], origin + rule.max_us, side="right"))) < end:
            cuts[at] = True
            origin = int(ts[at])
    return cuts


def _key_changes(keys: pa.Array, state: SessionState | None) -> NDArray[np.bool_]:
    """Whether the source's session key differs from the event's before; null equals null only."""
    changes = _changes(keys)
    absent = keys.is_null().to_numpy(zero_copy_only=False)
    changes[1:] |= absent[1:] != absent[:-1]
    changes[0] = state is not None and keys[0].as_py() != state.last_key
    return changes


def _changes(strings: pa.Array) -> NDArray[np.bool_]:
    """Whether each value differs from the one before; the first and comparisons with null: False."""
    changes = np.zeros(len(strings), dtype=bool)
    if len(strings) > 1:
        differs = pc.not_equal(strings.slice(1), strings.slice(0, len(strings) - 1))
        changes[1:] = differs.fill_null(False).to_numpy(zero_copy_only=False)
    return changes


def _check_order(
    batch: pa.RecordBatch, ts: NDArray[np.int64], begins: NDArray[np.bool_], state: SessionState | None
) -> None:
    wrong = np.zeros(len(ts), dtype=bool)
    wrong[1:] = (ts[1:] < ts[:-1]) & ~begins[1:]
    wrong[0] = state is not None and ts[0] < state.last_ts
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"events are not sorted: user {batch.column('user_id')[at].as_py()!r}, event "
            f"{batch.column('event_id')[at].as_py()!r}: ts {ts[at]} lies before the event in front of it; "
            "sort by user_id and ts first"
        )


def _numbers(batch: pa.RecordBatch, name: str) -> Any:
    column = batch.column(name)
    if column.null_count:
        raise ValueError(f"events: column {name} holds nulls; encode a missing value as 1")
    return column.to_numpy()
