"""One streaming pass over ``gold/user_sequences``: gaps between a user's events, and strands in use.

Every event with a strictly earlier one is a target exactly once, and the event before it lies beside it in
the row; the others stand at the very beginning of a history and share its first second. So the rows hold
every gap of every user without sorting anything; times there are whole seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.spec import SequenceSpec
from pipelines.report.pictures import Bin
from pipelines.report.snapshot import Snapshot

LIMITS: Final = (60, 300, 600, 900, 1_200, 1_800, 2_700, 3_600, 7_200, 14_400, 28_800, 43_200, 86_400)
"""Session gaps, in seconds, that the report asks about."""

EDGES: Final = np.concatenate([[0.0, 1.0], 10 ** (np.arange(1, 49) / 6)])
"""Six bins a decade from 1 s to 3 years; what is below 1 s has a bin of its own."""

TABLE: Final = "gold/user_sequences"


@dataclass(frozen=True)
class GoldScan:
    """What the pass found."""

    gaps: list[Bin] = field(default_factory=list)
    longer: dict[int, int] = field(default_factory=dict)  # limit in seconds -> gaps longer than it
    quantiles: dict[str, float] = field(default_factory=dict)  # of the gaps, to the bin's upper edge
    strands: dict[str, int] = field(default_factory=dict)  # family -> strands in use, summed over rows


def measure(tables: Snapshot, spec: SequenceSpec | None, limit: float | None) -> GoldScan:
    """The pass; ``limit`` (seconds) joins the limits that are asked about."""
    if spec is None or not tables.has(TABLE):
        return GoldScan()
    limits = np.array(sorted({*LIMITS, *([int(limit)] if limit else [])}))
    bins = np.zeros(len(EDGES) - 1, dtype=np.int64)
    longer = np.zeros(len(limits), dtype=np.int64)
    strands = dict.fromkeys((family.name for family in spec.families), 0)
    columns = ["chunk", "length", "events__ts", "targets__pos", *(f"{name}__key" for name in strands)]
    for batch in tables.batches(TABLE, columns, spec.pool):
        gaps = np.concatenate([_gaps(batch), np.zeros(_first_ties(batch), dtype=np.int64)])
        bins += np.histogram(np.minimum(gaps, EDGES[-1]), EDGES)[0]
        longer += len(gaps) - np.searchsorted(np.sort(gaps), limits, side="right")
        for family in spec.families:
            keys = _values(batch.column(f"{family.name}__key"))
            strands[family.name] += int(np.count_nonzero(keys >= family.min_key))
    edges = EDGES.tolist()
    found = [Bin(low, high, n) for low, high, n in zip(edges[:-1], edges[1:], bins.tolist(), strict=True)]
    return GoldScan(
        found, dict(zip(limits.tolist(), longer.tolist(), strict=True)), _quantiles(bins), strands
    )


def _gaps(batch: pa.RecordBatch) -> NDArray[np.int64]:
    """Seconds between every target of the rows and the event before it."""
    ts, targets = batch.column("events__ts"), batch.column("targets__pos")
    starts = ts.offsets.to_numpy()[:-1]
    widths = np.diff(targets.offsets.to_numpy())
    place = _values(targets)
    at = np.repeat(starts, widths)[place > 0] + place[place > 0]
    times = ts.values.to_numpy(zero_copy_only=False)
    gaps: NDArray[np.int64] = times[at] - times[at - 1]
    return gaps


def _first_ties(batch: pa.RecordBatch) -> int:
    """Events, but the first, that come at the same time as a user's first one: no targets, gaps of zero."""
    widths = np.diff(batch.column("events__ts").offsets.to_numpy())
    offsets = batch.column("targets__pos").offsets.to_numpy()
    first = batch.column("targets__pos").values.to_numpy(zero_copy_only=False)[offsets[:-1]]
    length, begins = (batch.column(name).to_numpy(zero_copy_only=False) for name in ("length", "chunk"))
    before = np.where(first >= 0, first - (widths - length), length)
    return int((before - 1)[begins == 0].sum())


def _values(column: pa.ListArray) -> NDArray[Any]:
    values: NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
    return values


def _quantiles(bins: NDArray[np.int64], at: Sequence[float] = (0.5, 0.9, 0.99)) -> dict[str, float]:
    total = int(bins.sum())
    if not total:
        return {}
    reached = np.cumsum(bins) / total
    return {f"{q:g}": float(EDGES[1 + int(np.searchsorted(reached, q))]) for q in at}
