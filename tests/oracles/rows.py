"""Rows of the tensor contract against the definition: every column, every target's strands."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from features.spec import FamilySpec, SequenceSpec
from features.strands import RowTags, strands
from tests.oracles.chunks import chunks, visible
from tests.oracles.strands import Event
from tests.oracles.strands import strands as strands_of

Row = dict[str, Any]


def check(users: dict[str, list[Event]], rows: list[Row], spec: SequenceSpec) -> None:
    """Rows are exactly those of the definition."""
    expected = [
        (user, number, *chunk)
        for user, events in sorted(users.items())
        for number, chunk in enumerate(chunks(events, spec))
    ]
    assert [(row["user_id"], row["chunk"]) for row in rows] == [entry[:2] for entry in expected]
    for row, (user, _, a, b, pool) in zip(rows, expected, strict=True):
        check_row(row, users[user], (a, b, pool), spec)


def check_row(row: Row, events: list[Event], chunk: tuple[int, int, list[int]], spec: SequenceSpec) -> None:
    a, b, pool = chunk
    bucket = row["length_bucket"]
    padding = bucket - len(pool)
    assert row["length"] == len(pool) <= bucket == spec.bucket(len(pool))
    assert row["events__ordinal"] == [0] * padding + [at + 1 for at in pool]

    def position(at: int) -> int:
        return padding + pool.index(at)

    final = events[b - 1]
    plain = {name: [getattr(events[at], name) for at in pool] for name in ("item", "category", "mode")}
    plain["type"] = plain["mode"]
    plain["ts"] = [events[at].ts // 1_000_000 for at in pool]
    plain["session"] = [events[at].session for at in pool]
    plain["theme_running"] = [events[at].theme_running for at in pool]
    plain["theme_session"] = [
        final.theme_running if events[at].session == final.session else events[at].theme_session
        for at in pool
    ]
    for name, values in plain.items():
        assert row[f"events__{name}"] == [0] * padding + values, name
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert row["first_ts"] == epoch + timedelta(microseconds=events[pool[0]].ts)
    assert row["last_ts"] == epoch + timedelta(microseconds=events[pool[-1]].ts)

    empty = [-1] * (min(spec.targets, bucket) - (b - a))
    prefixes = [visible(events, target) for target in range(a, b)]
    assert row["n_targets"] == b - a
    assert row["targets__pos"] == [position(target) for target in range(a, b)] + empty
    assert row["targets__read_pos"] == [position(v - 1) for v in prefixes] + empty

    for family in spec.families:
        assert flat_strands(row, family) == [
            (key, [position(at) for at in places]) for key, places in strands_of(events, b, family)
        ]
        placed = sum(at >= 0 for at in row[f"{family.name}__pos"])
        assert placed + row[f"{family.name}__dropped"] == row["length"]
        assert len(row[f"{family.name}__pos"]) == np.prod(spec.shape(f"{family.name}__pos", bucket))
        assert len(row[f"{family.name}__key"]) == family.strands
    check_targets(row, events, prefixes, spec)


def flat_strands(row: Row, family: FamilySpec) -> list[tuple[int, list[int]]]:
    width = min(family.length, row["length_bucket"])
    pos = row[f"{family.name}__pos"]
    return [
        (key, [at for at in pos[strand * width : (strand + 1) * width] if at >= 0])
        for strand, key in enumerate(row[f"{family.name}__key"])
        if key
    ]


def check_targets(row: Row, events: list[Event], prefixes: list[int], spec: SequenceSpec) -> None:
    """Strands that the kernel builds from the row equal those of the full history, target by target."""
    names = ("session", "category", "mode", "theme_session", "theme_running")
    tags = RowTags(*(np.array([row[f"events__{name}"]], np.int32) for name in names))
    ends = np.array(row["targets__read_pos"][: len(prefixes)], np.int64) + 1
    found = strands(tags, np.zeros(len(ends), np.int64), ends, spec)
    for family in spec.families:
        for target, v in enumerate(prefixes):
            pos, key = (array[target].tolist() for array in found[family.name])
            built = [
                (name, [row["events__ordinal"][at] - 1 for at in strand if at >= 0])
                for name, strand in zip(key, pos, strict=True)
                if name
            ]
            assert built == strands_of(events, v, family)
