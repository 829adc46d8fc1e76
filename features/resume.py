"""Going on from what is stored of users: blocks of their further events, and the states behind them.

The same folds make a full build, where nothing is stored, and a daily increment, where each touched user's
stored state comes before the events of the last session and the new ones.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.block import ENCODED_EVENTS, EventBlock
from features.chunks import OpenUsers, chunk_block
from features.sessions import SessionRule, sessionize
from features.spec import SequenceSpec
from features.tags import FittedThemes, TagStates, tag_block
from features.user_state import STATES, Known, Tails, known_users, state_rows
from features.users import UserRule, UserStates, summarise_users

Ints = NDArray[np.int64]

ORDERED_EVENTS: Final = pa.schema([*ENCODED_EVENTS, ("sequence", pa.int64())])
"""Columns of the stream: sorted by user, then ts, sequence, mode, event id."""

STATE: Final = "state"
"""Column that may come with them: ``STATES`` in a row before the user's events, which is nothing else."""


@dataclass(frozen=True)
class Step:
    """A block, the rows it was made of, and what is stored of users that begin in it."""

    block: EventBlock  # ordinals and sessions count the whole history
    rows: pa.RecordBatch  # ORDERED_EVENTS, one for each of the block's events
    stored: Known | None

    @property
    def flags(self) -> UserStates | None:
        """Stored states of ``summarise_users``."""
        return None if self.stored is None else self.stored.flags

    @property
    def tags(self) -> TagStates | None:
        """Stored states of ``tag_block``."""
        return None if self.stored is None else self.stored.tags

    @property
    def open(self) -> OpenUsers | None:
        """Stored states of ``chunk_block``."""
        return None if self.stored is None else self.stored.open


S = TypeVar("S", Known, TagStates, UserStates, OpenUsers)


def together(carried: S | None, stored: S | None) -> S | None:
    """The state that the block before left of the first user, and what is stored of others."""
    if carried is None or stored is None:
        return stored if carried is None else carried
    return type(carried).concat([carried, stored])


def steps(batches: Iterable[pa.RecordBatch], rule: SessionRule, block_events: int = 65_536) -> Iterator[Step]:
    """Blocks of whole sessions of ``ORDERED_EVENTS``, behind what a column ``state`` may tell of their users.

    As in ``sessionize``, batches may cut users and sessions anywhere. A stored history ends where a session
    does, so that the first event behind it opens one.
    """
    stored, rows = _Stored(), _Rows()
    shift = 0, 0  # events and sessions of the first user before the stream
    for block in sessionize(rows.passing(stored.passing(batches)), rule, block_events):
        own = stored.of(block)
        events, sessions = np.zeros((2, len(block.user_ids)), np.int32)
        if own is not None:
            at = pc.index_in(pa.array(own.user_ids), pa.array(block.user_ids)).to_numpy()
            events[at], sessions[at] = own.n_events, own.n_sessions
        if block.continued:
            events[0], sessions[0] = shift
        shift = int(events[-1]), int(sessions[-1])
        sizes = np.diff(block.offsets)
        absolute = replace(
            block,
            ordinal=block.ordinal + np.repeat(events, sizes),
            session=block.session + np.repeat(sessions, sizes),
        )
        yield Step(absolute, rows.take(block.size), own)


def states_behind(
    step: Step, carried: Known | None, fitted: FittedThemes, rule: UserRule, spec: SequenceSpec
) -> tuple[list[pa.RecordBatch], Known | None]:
    """Rows of ``STATES`` of the users that end in a step, and what is known of the one who goes on.

    ``carried`` is what the step before returned.
    """
    before = together(carried, step.stored)
    block = step.block
    tail_starts = _tail_starts(block)
    in_head = np.arange(block.size) < np.repeat(tail_starts, np.diff(block.offsets))
    with_head = tail_starts > block.offsets[:-1]
    ended = np.arange(len(with_head)) < len(with_head) - block.unfinished
    tails = _tails(step, tail_starts, int(ended.sum()))

    after = _after(_chosen(block, in_head), before, fitted, rule, spec) if in_head.any() else None
    unmoved = _unmoved(before, block, with_head)
    done = [_of(known, block.user_ids, ended) for known in (after, unmoved)]
    rows = [state_rows(_tails_of(tails, known.user_ids), known) for known in done if known is not None]
    told = {user for known in (after, unmoved) if known is not None for user in known.user_ids}
    fresh = [user for user in tails.user_ids if user not in told]
    if fresh:
        rows.append(state_rows(_tails_of(tails, fresh), None))
    return rows, _of(after, block.user_ids, ~ended) or _of(unmoved, block.user_ids, ~ended)


def _after(
    head: EventBlock, before: Known | None, fitted: FittedThemes, rule: UserRule, spec: SequenceSpec
) -> Known:
    """What is known behind the head, of all of its users."""
    own = _of(before, head.user_ids, np.ones(len(head.user_ids), dtype=bool))
    themes, flags, users = (own.tags, own.flags, own.open) if own else (None, None, None)
    tags, _, themes = tag_block(head, fitted, themes, everyone_goes_on=True)
    _, flags = summarise_users(flags, head, rule, everyone_goes_on=True)
    running, final = tags.theme_running, tags.theme_session
    _, users = chunk_block(head, running, final, spec, users, everyone_goes_on=True)
    assert themes is not None and flags is not None and users is not None
    last = head.offsets[1:] - 1
    return Known(head.ordinal[last], head.session[last], flags, themes, users)


def _tail_starts(block: EventBlock) -> Ints:
    """Where each user's last session begins; behind his events where he goes on in the next block."""
    starts = block.session_starts()
    tails: Ints = starts[np.searchsorted(starts, block.offsets[1:]) - 1]
    if block.unfinished:
        tails[-1] = block.offsets[-1]
    return tails


def _chosen(block: EventBlock, which: NDArray[np.bool_]) -> EventBlock:
    """The chosen events, of the users who have some."""
    counts = np.add.reduceat(which.astype(np.int64), block.offsets[:-1])
    there = counts > 0
    arrays = {name: getattr(block, name)[which] for name in ("ts", "item", "category", "type", "mode")}
    return replace(
        block,
        user_ids=[block.user_ids[at] for at in np.flatnonzero(there)],
        offsets=np.append(0, np.cumsum(counts[there])),
        event_id=block.event_id.filter(pa.array(which)),
        ordinal=block.ordinal[which],
        session=block.session[which],
        continued=block.continued and bool(there[0]),
        unfinished=False,
        **arrays,
    )


def _tails(step: Step, starts: Ints, users: int) -> Tails:
    """The last sessions of the first ``users`` users."""
    block = step.block
    sizes = (block.offsets[1:] - starts)[:users]
    last = np.arange(block.size) >= np.repeat(starts, np.diff(block.offsets))
    return Tails(block.user_ids[:users], np.append(0, np.cumsum(sizes)), step.rows.filter(pa.array(last)))


def _tails_of(tails: Tails, users: list[str]) -> Tails:
    if users == tails.user_ids:
        return tails
    at = pc.index_in(pa.array(users), pa.array(tails.user_ids)).to_numpy()
    sizes = np.diff(tails.offsets)[at]
    offsets = np.append(0, np.cumsum(sizes))
    places = np.arange(offsets[-1]) + np.repeat(tails.offsets[at] - offsets[:-1], sizes)
    return Tails(users, offsets, tails.events.take(pa.array(places)))


def _unmoved(before: Known | None, block: EventBlock, with_head: NDArray[np.bool_]) -> Known | None:
    """What stays as it was: of users of whom no session but the last is in the block."""
    return _of(before, block.user_ids, ~with_head)


def _of(known: Known | None, users: list[str], chosen: NDArray[np.bool_]) -> Known | None:
    """What is known of the chosen users; None where that is nothing."""
    if known is None:
        return None
    wanted = pa.array(users, pa.string()).filter(pa.array(chosen))
    own = pc.is_in(pa.array(known.user_ids), wanted).to_numpy(zero_copy_only=False)
    if own.all():
        return known
    return known.take(np.flatnonzero(own)) if own.any() else None


class _Stored:
    """Takes the states out of a stream and hands them to the blocks of their users."""

    def __init__(self) -> None:
        self._waiting: list[pa.RecordBatch] = []

    def passing(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The events of the stream."""
        for batch in batches:
            if STATE not in batch.schema.names:
                yield batch
                continue
            state = batch.column(STATE)
            told = state.filter(state.is_valid())
            if len(told):
                columns = dict(zip((field.name for field in state.type), told.flatten(), strict=True))
                own = pa.table([columns[name] for name in STATES.names], STATES.names).cast(STATES)
                self._waiting += own.to_batches()
            yield batch.filter(state.is_null()).select(ORDERED_EVENTS.names)

    def of(self, block: EventBlock) -> Known | None:
        """What is stored of the block's users."""
        if not self._waiting:
            return None
        rows = pa.Table.from_batches(self._waiting)
        own = pc.is_in(rows.column("user_id"), pa.array(block.user_ids))
        self._waiting = rows.filter(pc.invert(own)).combine_chunks().to_batches()
        return known_users(rows.filter(own))


class _Rows:
    """Holds the rows that went into a stream until their block comes out."""

    def __init__(self) -> None:
        self._held: deque[pa.RecordBatch] = deque()

    def passing(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches."""
        for batch in batches:
            if batch.num_rows:
                self._held.append(batch)
            yield batch

    def take(self, count: int) -> pa.RecordBatch:
        """The next rows."""
        parts: list[pa.RecordBatch] = []
        while count:
            batch = self._held.popleft()
            parts.append(batch.slice(0, count))
            if batch.num_rows > count:
                self._held.appendleft(batch.slice(count))
            count -= parts[-1].num_rows
        (whole,) = pa.Table.from_batches(parts).combine_chunks().to_batches()
        return whole
