"""The hop test: sides, size classes, p-values, the null's windows, and its calibration."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.hops import (
    LARGEST,
    MIN_NULL,
    PAIRS,
    SMALLEST,
    HopNull,
    SessionVectors,
    block_size_counts,
    boundary_sides,
    class_pair,
    cosine_distance,
    null_windows,
    pair_name,
    side_sums,
    size_counts,
)
from features.vectors import VectorTable, unit
from tests.features.histories import History, block_of, cut
from tests.oracles import hops as oracle

NO_PRIORITY = np.zeros(0, dtype=np.int64)


def null_of(pair: int, distances: list[float], max_null: int = 20_000) -> HopNull:
    n = len(distances)
    return HopNull.fit(np.full(n, pair), np.array(distances), np.arange(n), max_null)


def noise_table(rng: np.random.Generator, items: int, dim: int = 8, centre: float = 0.0) -> VectorTable:
    """Items 2.. with random directions about a common centre; no categories."""
    vectors = unit(rng.normal(size=(items, dim)) + centre)
    none = np.zeros((0, dim))
    return VectorTable.build(np.arange(2, items + 2, dtype=np.int32), vectors, np.zeros(0, np.int32), none)


def random_users(
    rng: np.random.Generator, users: int, sessions: int, items: int, mean: float
) -> list[History]:
    """Sessions of geometric sizes whose events are drawn alike wherever they are."""
    return [
        [
            [(int(item), 1) for item in rng.integers(2, items + 2, rng.geometric(1 / mean))]
            for _ in range(sessions)
        ]
        for _ in range(users)
    ]


def test_size_classes_of_a_boundary() -> None:
    sizes = np.arange(1, 9)
    named = [pair_name(code) for code in class_pair(sizes, np.full(8, 2))]
    assert named == ["1|2", "2|2", "3-4|2", "3-4|2", "5-8|2", "5-8|2", "5-8|2", "5-8|2"]
    assert [oracle.size_class(size) + "|2" for size in sizes] == named


def test_sides_are_the_last_and_first_eight_events_with_a_vector() -> None:
    vectors = np.vstack([np.zeros((1, 12)), np.eye(12)]).astype(np.float32)  # row k is the k-th axis
    #            ten vectors, one event without | none     | two
    rows = np.array([1, 2, 0, 3, 4, 5, 6, 7, 8, 9, 10, 0, 0, 11, 0, 12], dtype=np.int32)
    sessions = SessionVectors.of(rows, np.array([0, 11, 13]))
    first, last, size = boundary_sides(vectors, sessions)
    assert size.tolist() == [8, 0, 2]
    assert [np.flatnonzero(side).tolist() for side in first] == [[*range(8)], [], [10, 11]]
    assert [np.flatnonzero(side).tolist() for side in last] == [[*range(2, 10)], [], [10, 11]]


def test_side_sums_keep_the_order_of_what_was_asked() -> None:
    vectors = np.arange(10, dtype=np.float32)[:, None]
    rows = np.arange(10, dtype=np.int32)
    sums = side_sums(vectors, rows, np.array([7, 0, 4, 2, 1]), np.array([1, 8, 3, 0, 2]))
    assert sums[:, 0].tolist() == [7, 28, 15, 0, 3]


def test_cosine_distance_of_known_angles() -> None:
    left = np.array([[1.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 3.0], [0.0, 0.0]])
    right = np.array([[5.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    assert cosine_distance(left, right) == pytest.approx([0, 1, 2, 1 - 0.5**0.5, np.nan], nan_ok=True)


def test_p_counts_windows_at_least_as_far() -> None:
    null = null_of(6, [0.1, 0.4, 0.4, 0.7])
    distances = [0.0, 0.1, 0.4, 0.5, 0.7, 0.8]
    expected = [5 / 5, 5 / 5, 4 / 5, 2 / 5, 2 / 5, 1 / 5]
    assert null.p_value(np.full(6, 6), np.array(distances)).tolist() == expected
    assert null.p_value(np.array([5]), np.array([0.5])).tolist() == [1.0]  # no window at all


@given(
    st.lists(st.tuples(st.integers(0, PAIRS - 1), st.integers(0, 8)), max_size=60),
    st.lists(st.tuples(st.integers(0, PAIRS - 1), st.integers(0, 8)), max_size=20),
)
def test_p_equals_brute_force(null: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    pair, distance = np.array([*zip(*null, strict=True)] or [[], []]).astype(np.int64)
    fitted = HopNull.fit(pair, distance / 8, np.arange(len(pair)))
    codes, distances = np.array([*zip(*asked, strict=True)] or [[], []]).astype(np.int64)
    expected = [oracle.p_value([d / 8 for c, d in null if c == code], x / 8) for code, x in asked]
    assert fitted.p_value(codes, distances / 8).tolist() == expected


def test_a_class_is_decided_from_200_windows_on() -> None:
    few, enough = null_of(0, [0.1] * 198 + [0.9]), null_of(0, [0.1] * 199 + [0.9])
    assert (few.sizes()[0], enough.sizes()[0]) == (199, MIN_NULL)
    assert not few.decidable(0.05).any()
    assert np.flatnonzero(enough.decidable(0.05)).tolist() == [0]


def test_a_class_whose_windows_often_lie_at_the_largest_distance_cannot_reach_alpha() -> None:
    null = null_of(3, [0.5] * 900 + [1.0] * 100)
    assert null.min_p()[3] == pytest.approx(101 / 1001)
    assert not null.decidable(0.1)[3]
    assert null.decidable(0.101)[3]
    assert null.min_p()[4] == 1.0


def test_a_null_keeps_the_windows_of_smallest_priority_in_any_order() -> None:
    rng = np.random.default_rng(1)
    pair, distance = rng.integers(0, 3, 500), rng.random(500)
    priority = rng.integers(0, 50, 500)  # with ties
    fitted = HopNull.fit(pair, distance, priority, max_null=60)
    shuffled = rng.permutation(500)
    again = HopNull.fit(pair[shuffled], distance[shuffled], priority[shuffled], max_null=60)
    assert fitted.sizes().tolist() == [60, 60, 60] + [0] * 13
    assert np.array_equal(fitted.distance, again.distance)
    own = np.lexsort((distance[pair == 0], priority[pair == 0]))[:60]
    assert np.sort(distance[pair == 0][own]).tolist() == fitted.distance[:60].tolist()


def test_arrow_and_back_gives_the_same_null() -> None:
    null = HopNull.fit(np.array([3, 0, 3]), np.array([0.5, 0.25, 0.125]), np.array([1, 2, 3]))
    again = HopNull.from_arrow(null.to_arrow().take([2, 0, 1]))
    assert np.array_equal(null.distance, again.distance)
    assert np.array_equal(null.offsets, again.offsets)
    empty = HopNull.from_arrow(null.to_arrow().slice(0, 0))
    assert empty.p_value(np.array([0]), np.array([0.5])).tolist() == [1.0]


def test_size_counts_put_long_sides_into_the_last() -> None:
    assert size_counts(np.array([0, 1, 1, 3, 8, 30])).tolist() == [2, 0, 1, 0, 0, 0, 0, 2]


def test_windows_are_contiguous_in_one_session_distinct_and_capped() -> None:
    rng = np.random.default_rng(3)
    table = noise_table(rng, 400)
    # each event of its own item, so that a distance tells which window it came from
    sessions, item = [], 2
    for size in (1, 2, 3, 9, 16, 17, 60):
        sessions.append([(item + k, 1) for k in range(size)])
        item += size
    block = block_of([sessions])
    windows = null_windows(block, table, np.ones(8, np.int64), per_session=3)
    drawn = Counter(zip(windows.session.tolist(), windows.pair.tolist(), strict=True))
    sizes = [len(session) for session in sessions]
    for (session, pair), times in drawn.items():
        most = LARGEST[pair // 4] + LARGEST[pair % 4]
        assert times == min(3, sizes[session] - most + 1)
    assert (0, 0) not in drawn  # one event cannot be cut
    assert drawn[1, 0] == 1
    assert drawn[6, 15] == 3
    vectors = [[tuple(map(int, table.vectors[table.item_row[i]] * 65536)) for i, _ in s] for s in sessions]
    for k in range(len(windows.pair)):
        m, n = windows.sizes[k]
        whole = vectors[windows.session[k]]
        assert SMALLEST[windows.pair[k] // 4] <= m <= LARGEST[windows.pair[k] // 4]
        possible = [oracle.distance(whole[c - m : c], whole[c : c + n]) for c in range(m, len(whole) - n + 1)]
        assert windows.distance[k] in possible
    assert len(set(windows.distance.tolist())) == len(windows.distance)


def test_sizes_mix_inside_a_class_as_at_real_boundaries() -> None:
    rng = np.random.default_rng(5)
    block = block_of([[[(2 + int(i), 1) for i in rng.integers(0, 50, 40)]] for _ in range(2_000)])
    mix = np.array([0, 7, 1, 3, 5, 0, 0, 15])
    windows = null_windows(block, noise_table(rng, 50), mix, per_session=1)
    middle, large = windows.sizes[windows.pair == 11].T  # 3-4 | 5-8
    assert np.mean(middle == 4) == pytest.approx(0.75, abs=0.03)
    assert sorted(set(large.tolist())) == [5, 8]
    assert np.mean(large == 8) == pytest.approx(0.75, abs=0.03)
    assert (windows.sizes[windows.pair == 0] == 1).all()  # counted nowhere: drawn evenly


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 50), max_size=3))
def test_windows_do_not_depend_on_how_the_history_is_cut(seed: int, places: list[int]) -> None:
    rng = np.random.default_rng(seed)
    block = block_of(random_users(rng, 3, 6, 30, 6.0))
    table, mix = noise_table(rng, 20), np.ones(8, np.int64)  # items 22 to 31 have no vector

    def windows(part: object) -> list[tuple[int, int, float]]:
        found = null_windows(part, table, mix)  # type: ignore[arg-type]
        return sorted(zip(found.pair, found.priority, found.distance, strict=True))

    parts = [window for part in cut(block, places) for window in windows(part)]
    assert sorted(parts) == windows(block)
    assert sum(block_size_counts(part, table) for part in cut(block, places)).tolist() == (
        block_size_counts(block, table).tolist()
    )


def boundary_p(users: list[History], table: VectorTable, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """p and class pair of every boundary between two sessions of one user, under the data's own null."""
    block = block_of(users)
    windows = null_windows(block, table, block_size_counts(block, table))
    null = HopNull.fit(windows.pair, windows.distance, windows.priority)
    rows, _ = table.lookup(block.item, block.category)
    first, last, size = boundary_sides(table.vectors, SessionVectors.of(rows, block.session_starts()))
    user = np.searchsorted(block.offsets, block.session_starts(), side="right")
    same = np.flatnonzero(np.diff(user) == 0)
    pair = class_pair(size[same], size[same + 1])
    decided = null.decidable(alpha)[pair]
    same, pair = same[decided], pair[decided]
    return null.p_value(pair, cosine_distance(last[same], first[same + 1])), pair


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("mean_size", [3.0, 8.0])
def test_events_drawn_alike_everywhere_are_called_hops_no_more_often_than_alpha(
    alpha: float, mean_size: float
) -> None:
    rng = np.random.default_rng(11)
    p, pair = boundary_p(random_users(rng, 300, 25, 500, mean_size), noise_table(rng, 500, centre=0.5), alpha)
    assert len(p) > 3_000
    spread = 4 * np.sqrt(alpha * (1 - alpha) / len(p))
    assert alpha - 2 * spread - 0.005 <= np.mean(p <= alpha) <= alpha + spread + 0.1 * alpha
    for code in np.unique(pair):  # in each class pair, not only on the whole
        own = p[pair == code]
        assert np.mean(own <= alpha) <= alpha + 4 * np.sqrt(alpha * (1 - alpha) / len(own)) + 0.2 * alpha


def test_separated_themes_are_told_apart() -> None:
    rng = np.random.default_rng(13)
    centres = unit(rng.normal(size=(10, 16)))
    items = unit(np.repeat(centres, 50, axis=0) + 0.15 * rng.normal(size=(500, 16)))
    none = np.zeros((0, 16))
    table = VectorTable.build(np.arange(2, 502, dtype=np.int32), items, np.zeros(0, np.int32), none)
    users = []
    for _ in range(200):
        themes = rng.integers(0, 10, 20)
        sizes = rng.geometric(1 / 5, 20)
        users.append(
            [
                [(2 + int(i), 1) for i in 50 * theme + rng.integers(0, 50, size)]
                for theme, size in zip(themes, sizes, strict=True)
            ]
        )
    p, _ = boundary_p(users, table, 0.05)
    assert np.mean(p <= 0.05) > 0.88  # nine in ten boundaries change the theme
