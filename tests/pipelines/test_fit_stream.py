"""Regrouping, sampling and counting inside workers: pure NumPy, no Spark."""

import itertools
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.fit import tally
from pipelines.fit.stream import (
    BUCKETS,
    bucket_limit,
    bucket_of,
    columns_of,
    packed,
    whole_runs,
    whole_sessions,
)
from pipelines.fit.tally import Tally, pack, unpack

EVENTS = {
    # two users; the second session of user 5 has three events
    "user": [5, 5, 5, 5, 9, 9],
    "event": [-1, 11, 12, 13, 14, 15],
    "session": [1, 2, 2, 2, 1, 2],
    "item": [2, 3, 4, 3, 2, 2],
    "category": [2, 2, 3, 2, 2, 2],
    "type": [2, 2, 2, 2, 2, 2],
}


def batches(table: pa.Table, cuts: list[int]) -> list[pa.RecordBatch]:
    edges = [0, *sorted(min(cut, table.num_rows) for cut in cuts), table.num_rows]
    whole = table.combine_chunks().to_batches()[0]
    return [whole.slice(low, high - low) for low, high in itertools.pairwise(edges)]


def narrow_rows(cuts: list[int]) -> list[pa.RecordBatch]:
    """The events in rows that end at ``cuts``, and these in two batches."""
    columns = {name: np.array(values, np.int64) for name, values in EVENTS.items()}
    edges = [0, *sorted(min(cut, 6) for cut in cuts), 6]
    rows = [
        packed({name: column[low:high] for name, column in columns.items()})
        for low, high in itertools.pairwise(edges)
    ]
    whole = pa.Table.from_batches(rows).combine_chunks().to_batches()[0]
    return [whole.slice(0, 1), whole.slice(1)]


@given(st.lists(st.integers(0, 6), max_size=5))
def test_sessions_are_whole_however_batches_cut_them(cuts):
    found = []
    for sessions in whole_sessions(narrow_rows(cuts)):
        for start, length, user, ordinal in zip(
            sessions.starts, sessions.lengths, sessions.user, sessions.ordinal, strict=True
        ):
            items = sessions.item[start : start + length].tolist()
            found.append((int(user), int(ordinal), items))
    assert found == [(5, 1, [2]), (5, 2, [3, 4, 3]), (9, 1, [2]), (9, 2, [2])]


@given(st.lists(st.integers(0, 3), max_size=30), st.lists(st.integers(0, 30), max_size=6))
def test_runs_are_whole_and_in_order(keys, cuts):
    table = pa.table({"key": np.array(keys, dtype=np.int64), "row": np.arange(len(keys))})
    if not keys:
        assert list(whole_runs([], ("key",))) == []
        return
    parts = list(whole_runs(columns_of(batches(table, cuts)), ("key",)))
    assert np.concatenate([part["row"] for part in parts]).tolist() == list(range(len(keys)))
    for before, after in itertools.pairwise(parts):
        assert before["key"][-1] != after["key"][0]


def test_a_session_is_sampled_by_the_hash_of_its_first_event():
    sessions, last = whole_sessions(narrow_rows([]))  # the last session could have gone on
    assert sessions.key.tolist() == [2**64 - 1, 11, 14]
    assert last.key.tolist() == [15]
    assert sessions.bucket.tolist() == [BUCKETS - 1, 0, 0]
    kept = sessions.take(np.array([False, True, True]))
    assert kept.starts.tolist() == [0, 3]
    assert kept.item.tolist() == [3, 4, 3, 2]
    assert kept.user.tolist() == [5, 9]


@pytest.mark.parametrize(
    ("number", "most", "limit"),
    [
        (1, 100, 3),  # all buckets fit
        (2, 7, 2),  # exactly two fit
        (3, 6, 1),  # the second would exceed the bound
        (4, 2, 0),  # even the first would
    ],
)
def test_samples_are_whole_buckets(number, most, limit):
    assert bucket_limit(np.array([3, 4, 5]), most) == limit, number


def test_buckets_are_the_upper_bits():
    assert bucket_of(np.array([0, 2**48 - 1, 2**48, 2**64 - 1], dtype=np.uint64)).tolist() == [0, 0, 1, 65535]


@given(st.lists(st.lists(st.integers(0, 20), max_size=20), max_size=20))
def test_a_tally_counts_exactly_over_drains(additions):
    truth = Counter(key for keys in additions for key in keys)
    counter, found = Tally(), Counter()
    for number, keys in enumerate(additions):
        counter.add(np.array(keys, dtype=np.int64))
        if number % 3 == 2:
            found.update(dict(zip(*(column.tolist() for column in counter.drain()), strict=True)))
    found.update(dict(zip(*(column.tolist() for column in counter.drain()), strict=True)))
    assert found == truth


def test_a_tally_says_when_it_is_full(monkeypatch):
    monkeypatch.setattr(tally, "FULL", 8)
    counter = Tally()
    for low in range(0, 40, 4):
        counter.add(np.arange(low, low + 4))
        if counter.full:
            break
    assert counter.full
    keys, counts = counter.drain()
    assert len(keys) >= 8
    assert (counts == 1).all()
    assert not counter.full


@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))))
def test_pack_and_unpack_are_inverse(pairs):
    left = np.array([pair[0] for pair in pairs], dtype=np.int32)
    right = np.array([pair[1] for pair in pairs], dtype=np.int32)
    back = unpack(pack(left, right))
    assert back[0].tolist() == left.tolist()
    assert back[1].tolist() == right.tolist()
