"""Which pairs count, and that Spark counts them exactly and within bounds."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.fit.cooccurrence import Tokens, count_pairs, head_pairs, session_pairs
from pipelines.fit.counts import Counts, Frequencies, count_events
from pipelines.fit.options import EmbeddingOptions
from pipelines.fit.stream import BUCKETS, Sessions, narrow_events
from tests.pipelines.fit_data import AS_GIVEN, themed_events, to_spark


def sessions_of(*lists: list[tuple[int, int]]) -> Sessions:
    """Sessions given as lists of (item, category)."""
    lengths = np.array([len(events) for events in lists], dtype=np.int64)
    flat = [event for events in lists for event in events]
    return Sessions(
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        user=np.arange(len(lists)).astype(np.uint64),
        ordinal=np.ones(len(lists), dtype=np.int32),
        key=np.arange(len(lists)).astype(np.uint64),
        item=np.array([event[0] for event in flat], dtype=np.int32),
        category=np.array([event[1] for event in flat], dtype=np.int32),
        type=np.full(len(flat), 2, dtype=np.int32),
    )


def counts_of(items: dict[int, int], categories: dict[int, int]) -> Counts:
    def frequencies(counts: dict[int, int]) -> Frequencies:
        index = sorted(counts)
        return Frequencies(
            np.array(index, dtype=np.int32), np.array([counts[i] for i in index], dtype=np.int64)
        )

    empty = np.zeros(BUCKETS, dtype=np.int64)
    item_category = np.ones(len(items), dtype=np.int32)
    types = frequencies({})
    return Counts(frequencies(items), item_category, frequencies(categories), types, empty, empty)


def test_tokens_are_head_items_then_categories_then_the_tail():
    counts = counts_of({2: 5, 3: 9, 4: 5, 5: 2, 6: 1}, {1: 50, 2: 4, 3: 8})
    tokens = Tokens.of(counts, EmbeddingOptions(min_count=2, max_items=2))
    assert tokens.items.tolist() == [3, 2]  # by count, ties by index
    assert tokens.categories.tolist() == [3, 2]  # 1 is no category
    assert tokens.tail.tolist() == [4, 5]  # 6 is too rare for a vector of its own
    assert tokens.contexts == 4
    assert tokens.item.tolist() == [-1, -1, 1, 0, 4, 5, -1]
    assert tokens.category.tolist() == [-1, -1, 3, 2]


def test_neighbours_pair_by_item_and_category():
    # tokens: items 2, 3, 4 -> 0, 1, 2; category 2 -> 3
    counts = counts_of({2: 9, 3: 8, 4: 7}, {1: 1, 2: 9})
    tokens = Tokens.of(counts, EmbeddingOptions())
    found = session_pairs(sessions_of([(2, 2), (3, 1), (2, 2), (4, 1)], [(4, 2)]), tokens, window=1)
    # item 2 counts once, where it first occurs; 3 and 4 have no category; the last session has one item
    assert sorted(zip(*(side.tolist() for side in found), strict=True)) == [(0, 1), (1, 2), (1, 3)]


def oracle(lists, tokens, window):
    """Count neighbours the slow way."""
    found = Counter()
    for events in lists:
        seen: list[tuple[int, int]] = []
        for item, category in events:
            if item not in [one for one, _ in seen]:
                seen.append((item, category))
        for i, (a, a_category) in enumerate(seen):
            for b, b_category in seen[i + 1 : i + 1 + window]:
                ta, tb = tokens.item[a], tokens.item[b]
                ca, cb = tokens.category[a_category], tokens.category[b_category]
                for pair in ((ta, tb), (ta, cb), (tb, ca), (ca, cb)):
                    low, high = sorted(map(int, pair))
                    if low >= 0 and low < tokens.contexts:
                        found[low, high] += 1
    return found


EVENTS = st.lists(st.tuples(st.integers(2, 9), st.integers(1, 4)), min_size=1, max_size=8)


@given(st.lists(EVENTS, min_size=1, max_size=6), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_pairs_agree_with_the_oracle(lists, window, max_items, min_count):
    items = Counter(item for events in lists for item, _ in events)
    categories = Counter(category for events in lists for _, category in events)
    options = EmbeddingOptions(min_count=min_count, max_items=max_items)
    tokens = Tokens.of(counts_of(items, categories), options)
    left, right = session_pairs(sessions_of(*lists), tokens, window)
    assert Counter(zip(left.tolist(), right.tolist(), strict=True)) == oracle(lists, tokens, window)


def test_spark_counts_what_one_process_counts_and_bounds_what_it_hands_on(spark):
    events = themed_events(users=12, sessions=4)
    narrow = narrow_events(to_spark(spark, events.table, 3), AS_GIVEN, None)
    counts = count_events(narrow, 3)
    rows = events.table.to_pylist()
    assert counts.events == len(rows)
    truth = Counter(row["item"] for row in rows)
    assert dict(zip(counts.items.index.tolist(), counts.items.count.tolist(), strict=True)) == truth
    assert (counts.item_category == (counts.items.index - 2) // 10 + 2).all()
    assert counts.sessions.sum() == 48

    tokens = Tokens.of(counts, EmbeddingOptions(max_items=20))
    lists: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for row in rows:
        lists.setdefault((row["user_id"], row["session"]), []).append((row["item"], row["category"]))
    users = spark.createDataFrame([(user,) for user in sorted({user for user, _ in lists})], "user_id string")
    kept_out = {row.user_id for row in users.where("xxhash64(user_id) % 4 = 0").collect()}
    assert 0 < len(kept_out) < 6  # one user in four is held out
    lists = {place: events for place, events in lists.items() if place[0] not in kept_out}
    pairs = count_pairs(narrow, tokens, BUCKETS, 3).persist()
    expected = oracle(lists.values(), tokens, 3)
    assert {(row.left, row.right): row.n for row in pairs.collect()} == expected

    head = {pair: n for pair, n in expected.items() if pair[1] < tokens.contexts}
    everything = head_pairs(pairs, tokens.contexts, len(head))
    assert dict(zip(zip(everything.left, everything.right, strict=True), everything.n, strict=True)) == head
    bound = len(head) // 2
    bounded = head_pairs(pairs, tokens.contexts, bound)
    least = int(bounded.n.min())
    assert bound - 20 <= len(bounded.n) <= bound
    assert (bounded.n > least).sum() == sum(n > least for n in head.values())  # the largest are all there
    pairs.unpersist()
