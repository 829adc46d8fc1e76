"""Themes, hops and returns of a block of events under one fit."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.block import EventBlock
from features.codes import FIRST_INDEX, MODE_CODES, NO_THEME
from features.hops import (
    HopNull,
    SessionVectors,
    boundary_sides,
    class_pair,
    cosine_distance,
)
from features.returns import NOTHING_SEEN, ThemesSeen, find_returns
from features.themes import running_themes
from features.vectors import LONGEST, SOURCE_CATEGORY, SOURCE_ITEM, SOURCE_NONE, VectorTable, quantise

_MODE_COLUMNS = {f"n_{mode}": code for mode, code in MODE_CODES.items()}
_SOURCE_COLUMNS = {
    "n_vectors_item": SOURCE_ITEM,
    "n_vectors_category": SOURCE_CATEGORY,
    "n_vectors_none": SOURCE_NONE,
}


def sessions_arrow_schema() -> pa.Schema:
    """Columns of ``silver/sessions``; null in the last six means undecided (or no distance)."""
    instant = pa.timestamp("us", tz="UTC")
    counts = [*_MODE_COLUMNS, "first_event_id", "theme_id", "has_interest", *_SOURCE_COLUMNS]
    special = {"first_event_id": pa.string(), "has_interest": pa.bool_()}
    return pa.schema(
        [
            ("session_id", pa.string()),
            ("user_id", pa.string()),
            ("ordinal", pa.int32()),
            ("start_ts", instant),
            ("end_ts", instant),
            ("n_events", pa.int32()),
            *((name, special.get(name, pa.int32())) for name in counts),
            ("hop_distance", pa.float64()),
            ("hop_p", pa.float64()),
            ("hop_score", pa.float64()),
            ("is_hop", pa.bool_()),
            ("is_return", pa.bool_()),
            ("return_lag", pa.int32()),
        ]
    )


@dataclass(frozen=True)
class FittedThemes:
    """What a fit learned and tagging reads: vectors, themes, hop null, and the level of the hop test."""

    table: VectorTable
    centroids: NDArray[np.float64]  # (K, D), unit vectors on the grid
    theme_ids: NDArray[np.int32]  # (K,), ascending, from 2
    hop_null: HopNull
    alpha: float

    def __post_init__(self) -> None:
        if self.centroids.shape != (len(self.theme_ids), self.table.dim):
            raise ValueError(f"centroids have shape {self.centroids.shape}, not (themes, {self.table.dim})")
        if (quantise(self.centroids) != self.centroids).any():
            raise ValueError("centroids are not multiples of 2^-16; pass them through unit()")
        if (np.abs(np.linalg.norm(self.centroids, axis=1) - 1) > LONGEST - 1).any():
            raise ValueError("centroids must have length one; pass them through unit()")
        if (np.diff(self.theme_ids) <= 0).any() or (self.theme_ids < FIRST_INDEX).any():
            raise ValueError("theme ids must ascend from 2 on")
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha = {self.alpha} is not between 0 and 1")


@dataclass(frozen=True)
class TagState:
    """What the sessions so far of an unfinished user leave for the next block."""

    user_id: str
    theme: int  # of the last session
    tail_sum: NDArray[np.float64]  # (D,), its last events with a vector
    tail_size: int
    seen: ThemesSeen


@dataclass(frozen=True)
class Tags:
    """Themes of N events."""

    theme_running: NDArray[np.int32]  # (N,) of the session up to and including the event
    theme_session: NDArray[np.int32]  # (N,) of the whole session


@dataclass(frozen=True)
class SessionRows:
    """S sessions, in order, less the session id; masks say where a value is known."""

    user: NDArray[np.int64]  # index into user_ids
    user_ids: list[str]
    start: NDArray[np.int64]  # first event's place in the block
    ordinal: NDArray[np.int32]
    start_ts: NDArray[np.int64]  # µs
    end_ts: NDArray[np.int64]  # µs, the last event's
    n_events: NDArray[np.int32]
    n_mode: dict[str, NDArray[np.int32]]  # by column
    n_vectors: dict[str, NDArray[np.int32]]  # by column
    first_event_id: pa.Array
    theme_id: NDArray[np.int32]
    has_interest: NDArray[np.bool_]
    hop_distance: NDArray[np.float64]
    has_distance: NDArray[np.bool_]
    hop_p: NDArray[np.float64]
    decided: NDArray[np.bool_]
    is_hop: NDArray[np.bool_]
    is_return: NDArray[np.bool_]
    return_lag: NDArray[np.int32]
