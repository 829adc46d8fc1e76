"""What a model is asked: which item comes next, at ``as_of``, after the events of a gold row.

The rows may come from a request (``training.serving.history``) or be the last ones of
``gold/user_sequences``, one a user; both give the same tensors. A model sees the row's latest events, one
less than the longest row that it was trained on, whose last place a target takes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from features.codes import FIRST_INDEX, NO_POSITION, PADDING
from features.instants import UNIT_US
from features.sessions import opens_session
from training.batch import Rows, Samples, gap_code
from training.errors import DataError
from training.gold import COLUMNS, EVENTS, Block, at_end, to_whole_block, user_numbers
from training.rows import GAP_OF_NOTHING, concat, take, window_events
from training.serving.source import SourceRules
from training.vocabulary import TrainVocabulary
from training.windows import WindowRule, Windows

Ints = NDArray[np.int64]

PLACES: Final = 1 << 14
"""Places of a batch, padding included: bounds the memory of attention (our choice)."""

ROW_COLUMNS: Final = (*COLUMNS, "length_bucket", "last_ts", "events__ordinal")
"""What is read of a row of ``gold/user_sequences``."""


@dataclass(frozen=True)
class Questions:
    """N questions, one a row, and whose they are."""

    user: Ints  # (N,) place among the users asked for
    rows: Rows  # N rows of one padded length
    samples: Samples  # N, without a target
    theme: Ints  # (N,) the pipeline's theme of the last session so far, 0 where there is none
    is_open: NDArray[np.bool_]  # (N,) the last session is not over

    def take(self, which: Ints) -> "Questions":
        """The questions asked for, in that order."""
        index = torch.from_numpy(which)
        samples = self.samples.map(lambda values: values[index])
        return Questions(
            self.user[which],
            take(self.rows, index),
            replace(samples, row=torch.arange(len(which))),
            self.theme[which],
            self.is_open[which],
        )


@dataclass(frozen=True)
class Asking:
    """The settings by which rows become questions."""

    vocabulary: TrainVocabulary
    window: WindowRule
    source: SourceRules

    def questions(self, rows: pa.Table, user_ids: list[str], as_of: int) -> Iterator[Questions]:
        """What is asked for each of ``user_ids`` (U) at ``as_of`` (µs), by padded length.

        ``rows`` has ``ROW_COLUMNS`` and at most one row a user; who has none is asked for with an empty
        history.
        """
        place = {user: at for at, user in enumerate(user_ids)}
        names = rows.column("user_id").to_pylist()
        if len(set(names)) < len(names):
            raise DataError(
                f"{len(names):,} rows of {len(set(names)):,} users; give each user's last row alone"
            )
        user = np.array([place.pop(name) for name in names], np.int64)
        if place:
            yield from self._empty(list(place.values()), [*place], as_of)
        buckets = rows.column("length_bucket").to_numpy()
        by_length: dict[int, list[Questions]] = {}
        for bucket in np.unique(buckets).tolist():
            own = np.flatnonzero(buckets == bucket)
            for found in self._of_bucket(rows.take(pa.array(own)), bucket, user[own], as_of):
                by_length.setdefault(found.rows.item.shape[1], []).append(found)
        for length, parts in sorted(by_length.items()):
            yield from _pieces(_joined(parts), max(1, PLACES // length))

    def _of_bucket(self, rows: pa.Table, bucket: int, user: Ints, as_of: int) -> Iterator[Questions]:
        block = at_end(to_whole_block(rows.select(list(COLUMNS)), bucket, self.source.spec), self.source.spec)
        opens = self._opens(rows, block, as_of)
        length = np.minimum(block.length, self.window.length - 1)
        none = np.zeros(0, np.int64)
        windows = Windows(
            np.arange(len(block)), block.length - length, length, length, np.zeros_like(length), *(none,) * 3
        )
        padded = np.asarray(self.window.lengths)[np.searchsorted(self.window.lengths, length)]
        for size in np.unique(padded).tolist():
            own = np.flatnonzero(padded == size)
            events = window_events(block, self.vocabulary, windows, own, size)
            end = torch.from_numpy(length[own].astype(np.int32))
            last = events["ts"][torch.arange(len(own)), end.long() - 1]
            query_ts = torch.full_like(last, as_of // UNIT_US["s"])
            held = Rows(
                **events,
                **_no_targets(len(own), size),
                length=end,
                row_id=torch.from_numpy(block.row_id[own]),
                user_id=torch.from_numpy(block.user_id[own]),
            )
            samples = _samples(end, query_ts, gap_code(query_ts - last), torch.from_numpy(opens[own]))
            theme = block.events["theme"][own, -1].astype(np.int64)
            yield Questions(user[own], held, samples, theme, ~opens[own])

    def _opens(self, rows: pa.Table, block: Block, as_of: int) -> NDArray[np.bool_]:
        """Whether an event at ``as_of`` would open a session; one of which the row holds only the end counts
        from there.
        """
        session = block.events["session"]
        first = (session == session[:, -1:]).argmax(axis=1)
        start = block.events["ts"][np.arange(len(block)), first] * UNIT_US["s"]
        last = rows.column("last_ts")
        last_us = last.cast(pa.timestamp("us", tz=last.type.tz)).cast(pa.int64()).to_numpy()
        if (last_us >= as_of).any():
            raise DataError(
                f"{(last_us >= as_of).sum():,} rows hold events at or after as_of; ask as of a later time"
            )
        ordinals = rows.column("events__ordinal").combine_chunks().flatten().to_numpy()
        events = ordinals.reshape(len(block), -1)[:, -1].astype(np.int64)
        return opens_session(self.source.sessions, as_of, last_us, start, events)

    def _empty(self, user: list[int], names: list[str], as_of: int) -> Iterator[Questions]:
        """Questions without a history: a row of padding, of which nothing is visible."""
        count, size = len(user), self.window.lengths[0]
        blank = torch.zeros(count, size, dtype=torch.int32)
        end = torch.zeros(count, dtype=torch.int32)
        number = torch.from_numpy(user_numbers(pa.chunked_array([pa.array(names, pa.string())])))
        held = Rows(
            **{name: blank.long() if name == "ts" else blank.clone() for name in EVENTS},
            **_no_targets(count, size),
            length=end,
            row_id=number,
            user_id=number,
        )
        query_ts = torch.full((count,), as_of // UNIT_US["s"])
        gap = torch.full((count,), GAP_OF_NOTHING, dtype=torch.int8)
        samples = _samples(end, query_ts, gap, torch.ones(count, dtype=torch.bool))
        nothing = np.zeros(count, np.int64)
        empty = Questions(np.array(user), held, samples, nothing, nothing.astype(bool))
        yield from _pieces(empty, max(1, PLACES // size))


def _no_targets(count: int, length: int) -> dict[str, torch.Tensor]:
    """The fields of ``Rows`` that say where targets are: nowhere."""
    shape = (count, length)
    nowhere = torch.zeros(shape, dtype=torch.bool)
    return {
        "read_at": torch.full(shape, NO_POSITION, dtype=torch.int32),
        "query_gap": torch.zeros(shape, dtype=torch.int8),
        "new_session": nowhere,
        "loss_mask": nowhere,
    }


def _samples(
    end: torch.Tensor, query_ts: torch.Tensor, query_gap: torch.Tensor, new_session: torch.Tensor
) -> Samples:
    """One question a row; there is no target, hence no place, item or category of it."""
    blank = torch.full_like(end, PADDING)
    return Samples(
        row=torch.arange(len(end)),
        end=end,
        place=torch.full_like(end, NO_POSITION),
        item=blank,
        category=blank,
        query_ts=query_ts,
        query_gap=query_gap,
        new_session=new_session,
    )


def _joined(parts: list[Questions]) -> Questions:
    rows = concat([part.rows for part in parts])
    tensors = [part.samples for part in parts]
    names = ("end", "query_ts", "query_gap", "new_session")
    samples = _samples(*(torch.cat([getattr(part, name) for part in tensors]) for name in names))
    arrays = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("user", "theme", "is_open")
    )
    user, theme, is_open = arrays
    return Questions(user, rows, samples, theme, is_open)


def _pieces(asked: Questions, size: int) -> Iterator[Questions]:
    """The questions in the users' order, ``size`` at a time: who asks decides what is computed together."""
    order = np.argsort(asked.user)
    for start in range(0, len(order), size):
        yield asked.take(order[start : start + size])


def theme_of(asked: Questions) -> list[int | None]:
    """The theme of each question's last session, None where it has none."""
    return [int(theme) if theme >= FIRST_INDEX else None for theme in asked.theme]
