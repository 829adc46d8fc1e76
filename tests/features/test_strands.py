"""Strands: the examples read as the definition, the properties hold it against the oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.spec import FamilySpec, SequenceSpec
from features.strands import RowTags, strands
from tests.features.tagged import histories, history, random_history, specs
from tests.oracles import strands as oracle
from tests.oracles.strands import Event


def row_tags(rows: list[list[Event]], length: int) -> RowTags:
    """Whole histories as rows, left-padded."""

    def padded(name: str) -> np.ndarray:
        return np.array(
            [[0] * (length - len(row)) + [getattr(event, name) for event in row] for row in rows], np.int32
        )

    return RowTags(*map(padded, ("session", "category", "mode", "theme_session", "theme_running")))


def as_lists(pos: np.ndarray, key: np.ndarray, shift: int) -> list[tuple[int, list[int]]]:
    """One question's strands as the oracle writes them; checks the padding on the way."""
    found = []
    for strand, name in zip(pos.tolist(), key.tolist(), strict=True):
        places = [at - shift for at in strand if at >= 0]
        assert strand == [-1] * (len(strand) - len(places)) + [at + shift for at in places]
        assert bool(places) == (name > 0)
        found.append((name, places))
    filled = [entry for entry in found if entry[0]]
    assert found == filled + [(0, [])] * (len(found) - len(filled))
    return filled


#         session   A  A  A  B  B  C  C  C   (1, 2, 3)
#         category  2  3  2  1  4  2  2  5
#         running   2  2  2  3  3  3  2  4   sessions end with themes 2, 3 and 4
EXAMPLE = history(
    [
        (1, False, 2, 1, 2),  # 0
        (1, False, 3, 1, 2),  # 1
        (1, False, 2, 1, 2),  # 2
        (1, True, 1, 1, 3),  # 3
        (1, False, 4, 3, 3),  # 4
        (1, True, 2, 1, 3),  # 5
        (1, False, 2, 1, 2),  # 6
        (1, False, 5, 2, 4),  # 7
    ]
)


@pytest.mark.parametrize(
    ("family", "v", "expected"),
    [
        (FamilySpec("recent", 1, 3), 8, [(1, [5, 6, 7])]),
        (FamilySpec("recent", 1, 3), 2, [(1, [0, 1])]),
        (FamilySpec("session", 2, 2), 8, [(3, [6, 7]), (2, [3, 4])]),
        (FamilySpec("category", 3, 2), 8, [(5, [7]), (2, [5, 6]), (4, [4])]),
        (FamilySpec("category", 3, 2), 4, [(2, [0, 2]), (3, [1])]),  # category 1 is unknown: no strand
        (FamilySpec("mode", 4, 2), 8, [(2, [7]), (1, [5, 6]), (3, [4])]),
        # the open session C counts as a whole with its running theme: 3, then 2, then 4
        (FamilySpec("theme", 3, 3), 6, [(3, [3, 4, 5]), (2, [0, 1, 2])]),
        (FamilySpec("theme", 3, 3), 7, [(2, [2, 5, 6]), (3, [3, 4])]),
        (FamilySpec("theme", 3, 3), 8, [(4, [5, 6, 7]), (3, [3, 4]), (2, [0, 1, 2])]),
        (FamilySpec("theme", 1, 2), 7, [(2, [5, 6])]),
        (FamilySpec("theme", 3, 3), 0, []),
    ],
)
def test_example(family: FamilySpec, v: int, expected: list[tuple[int, list[int]]]) -> None:
    families = {"recent": FamilySpec("recent", 1, 3), family.name: family}
    spec = SequenceSpec(128, 8, (128,), tuple(families.values()))
    found = strands(row_tags([EXAMPLE], 8), np.array([0]), np.array([v]), spec)[family.name]
    assert as_lists(found.pos[0], found.key[0], 0) == expected
    assert oracle.strands(EXAMPLE, v, family) == expected


def test_a_session_without_theme_forms_no_strand_until_it_has_one() -> None:
    events = history([(1, False, 1, 1, 5), (1, True, 1, 1, 1), (1, False, 1, 1, 5)])
    spec = SequenceSpec(64, 8, (64,), (FamilySpec("recent", 1, 3), FamilySpec("theme", 2, 3)))
    found = strands(row_tags([events], 3), np.array([0, 0]), np.array([2, 3]), spec)["theme"]
    assert as_lists(found.pos[0], found.key[0], 0) == [(5, [0])]
    assert as_lists(found.pos[1], found.key[1], 0) == [(5, [0, 1, 2])]


def test_keys_beyond_16_bits_stay_apart() -> None:
    events = history([(1, False, 2, 1, 1), (1, False, 2 + (1 << 16), 1, 1), (1, False, 2 + (1 << 30), 1, 1)])
    spec = SequenceSpec(64, 8, (64,), (FamilySpec("recent", 1, 3), FamilySpec("category", 3, 3)))
    found = strands(row_tags([events], 5), None, np.array([5]), spec)["category"]
    assert found.key.tolist() == [[2 + (1 << 30), 2 + (1 << 16), 2]]


def test_one_end_per_row_is_required() -> None:
    with pytest.raises(ValueError, match="one end per row"):
        strands(row_tags([EXAMPLE], 8), None, np.array([8, 8]), SequenceSpec())


def check(rows: list[list[Event]], spec: SequenceSpec, pad: int) -> None:
    """The kernel agrees with the oracle for every prefix of every row, and asks change no tags."""
    length = max(map(len, rows)) + pad
    tags = row_tags(rows, length)
    before = [getattr(tags, name).copy() for name in ("session", "category", "mode", "theme_session")]
    asked = [(row, v) for row, events in enumerate(rows) for v in range(len(events) + 1)]
    row, v = (np.array(column) for column in zip(*asked, strict=True))
    shift = np.array([length - len(events) for events in rows])
    found = strands(tags, row, np.where(v > 0, v + shift[row], 0), spec)
    ends = strands(tags, None, np.full(len(rows), length), spec)
    for family in spec.families:
        pos, key = found[family.name]
        assert pos.shape == (len(asked), family.strands, min(family.length, length))
        for question, (at, prefix) in enumerate(asked):
            expected = oracle.strands(rows[at], prefix, family)
            assert as_lists(pos[question], key[question], int(shift[at])) == expected
            if prefix == len(rows[at]):
                assert ends[family.name].pos[at].tolist() == pos[question].tolist()
                assert ends[family.name].key[at].tolist() == key[question].tolist()
    after = [getattr(tags, name) for name in ("session", "category", "mode", "theme_session")]
    assert all(np.array_equal(old, new) for old, new in zip(before, after, strict=True))


@given(st.lists(histories(20), min_size=1, max_size=4), specs, st.integers(0, 3))
def test_agrees_with_the_oracle(rows: list[list[Event]], spec: SequenceSpec, pad: int) -> None:
    check(rows, spec, pad)


def test_agrees_with_the_oracle_on_long_rows() -> None:
    rng = np.random.default_rng(3)
    check([random_history(rng, 150) for _ in range(4)], SequenceSpec(), 0)


@given(histories(20), specs, st.data())
def test_reads_nothing_behind(events: list[Event], spec: SequenceSpec, data: st.DataObject) -> None:
    """Other events behind the prefix, and another end of its open session, change no strand."""
    v = data.draw(st.integers(1, len(events)))
    opened = events[v - 1].session
    changed = [event._replace(theme_session=8) if event.session == opened else event for event in events]
    changed[v:] = [
        event._replace(category=7, mode=4, theme_running=9, theme_session=9) for event in changed[v:]
    ]
    asked = np.array([0]), np.array([v])
    one, other = (strands(row_tags([row], len(row)), *asked, spec) for row in (events, changed))
    for family in spec.families:
        assert one[family.name].pos.tolist() == other[family.name].pos.tolist()
        assert one[family.name].key.tolist() == other[family.name].key.tolist()
