"""Which rows of a shard are written, where: valid ones, late ones, duplicates and malformed ones."""

from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.synthetic.history import TYPES, Bools, Events, Ints
from pipelines.synthetic.settings import Settings, before, share
from pipelines.synthetic.world import World

COLUMNS: Final = ("event_id", "user_id", "item_id", "category_id", "event_type", "ts")
KINDS: Final = ("bad_ts", "null_id", "unknown_type", "out_of_window", "future", "truncated")
"""Faults of malformed rows. A line can only be truncated in csv and jsonl."""

FIRST_EVENT, FIRST_BAD_EVENT, FIRST_USER = 100_000_000_000, 900_000_000_000, 1_000_000
UNITS: Final = {"s": 1, "ms": 1_000, "us": 1_000_000}
YEAR_2037 = 2_114_380_800


class Rows(NamedTuple):
    """Rows to be written, ``(n,)`` each, in the order of the files and of arrival inside a file."""

    table: pa.Table
    file: Ints
    """Number of the time slice whose file the row stands in."""
    truncated: pa.Array
    """Whether the line is cut off."""
    late: int
    """Valid rows that stand in a later file than their time's."""


def malformed_counts(settings: Settings) -> dict[str, int]:
    """Rows of each fault over all shards, nearly equal, adding up to the stated share of ``events``."""
    kinds = KINDS if settings.format in ("csv", "jsonl") else KINDS[:-1]
    total = round(settings.malformed * settings.events)
    return {kind: share(total, i, len(kinds)) for i, kind in enumerate(kinds)}


def user_ids(user: Ints) -> Ints:
    """Ids of users from their indices."""
    return user + FIRST_USER


def event_ids(settings: Settings, shard: int, n: int) -> Ints:
    """Ids of a shard's valid events: they grow with time inside a user and are unique over shards."""
    people = before(settings.events - settings.n_bots * settings.bot_events, shard, settings.shards)
    bots = before(settings.n_bots, shard, settings.shards) * settings.bot_events
    return FIRST_EVENT + people + bots + np.arange(n, dtype=np.int64)


def written_rows(settings: Settings, world: World, shard: int, events: Events) -> Rows:
    """All rows of a shard with their faults."""
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(2, shard)))
    n, of = len(events.ts), settings.shards
    slice_s = settings.days * 86_400 / settings.slices

    arrival = events.ts.astype(np.float64)
    can = np.flatnonzero(arrival < settings.end_s - 2 * slice_s)
    late = rng.choice(
        can, min(share(round(settings.late * settings.events), shard, of), len(can)), replace=False
    )
    arrival[late] += slice_s * rng.integers(1, 3, len(late))

    twice = rng.integers(0, n, share(round(settings.duplicates * settings.events), shard, of))
    faults = [share(count, shard, of) for count in malformed_counts(settings).values()]
    fault = np.repeat(np.arange(len(faults)), faults)
    donor = rng.integers(0, n, len(fault))
    rows = np.r_[np.arange(n), twice, donor]
    fault = np.r_[np.full(n + len(twice), -1), fault]
    arrival = np.r_[arrival, arrival[twice] + rng.integers(0, 7_200, len(twice)), arrival[donor]]
    file = np.clip((arrival - settings.start_s) // slice_s, 0, settings.slices - 1).astype(np.int64)

    ids = event_ids(settings, shard, n)[rows]
    bad_before = sum(before(count, shard, of) for count in malformed_counts(settings).values())
    ids[fault >= 0] = FIRST_BAD_EVENT + bad_before + np.arange(len(donor))
    ts = events.ts[rows]
    ts[fault == 3] = settings.start_s - 86_400 * rng.integers(30, 400, int((fault == 3).sum()))
    ts[fault == 4] = YEAR_2037 + rng.integers(0, 86_400 * 365, int((fault == 4).sum()))

    order = np.lexsort((arrival, file))
    rows, fault, ids, ts, file = rows[order], fault[order], ids[order], ts[order], file[order]
    odd, kind = ids % 2 == 1, pa.array(events.kind[rows])
    table = pa.table({
        "event_id": _text(ids),
        "user_id": _blank(_text(user_ids(events.user[rows])), (fault == 1) & odd),
        "item_id": _blank(_text(world.item_id[events.item[rows]]), (fault == 1) & ~odd),
        "category_id": _text(world.item_category[events.item[rows]]),
        "event_type": pc.if_else(pa.array(fault == 2), "hover", pa.array(TYPES).take(kind)),
        "ts": _times(settings, ts, fault == 0, odd),
    })  # fmt: skip
    return Rows(table, file, pa.array(fault == 5), len(late))


def _text(values: Ints) -> pa.Array:
    return pa.array(values).cast(pa.string())


def _blank(values: pa.Array, where: Bools) -> pa.Array:
    return pc.if_else(pa.array(where), pa.scalar(None, values.type), values)


def _times(settings: Settings, ts: Ints, bad: Bools, odd: Bools) -> pa.Array:
    """The column as written. Unreadable text where times are text; null where the column is typed."""
    if settings.ts_unit == "iso":
        text = pa.array(ts).cast(pa.timestamp("s")).cast(pa.string())  # 25 times as fast as strftime
        text = pc.binary_join_element_wise(pc.replace_substring(text, " ", "T"), "", "Z")
    else:
        number = pa.array(ts * UNITS[settings.ts_unit])
        if settings.format in ("parquet", "delta"):
            return _blank(number, bad)
        text = number.cast(pa.string())
    wrong = pc.if_else(pa.array(odd), "2017-13-45T99:00:00Z", "yesterday")
    return pc.if_else(pa.array(bad), wrong, text)
