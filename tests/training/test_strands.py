"""Strands on the device equal those of the pipeline's kernel and of the oracle, for every prefix."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from features.spec import FAMILIES, FamilySpec, SequenceSpec
from features.strands import strands as kernel
from tests.features.tagged import histories as drawn_histories
from tests.features.tagged import random_history, specs
from tests.features.test_strands import row_tags
from tests.oracles import strands as oracle
from tests.oracles.strands import Event
from tests.training.rows import rows_of
from training.batch import Rows
from training.strands import strands, theme_mask


def prefixes(histories: list[list[Event]]) -> tuple[torch.Tensor, torch.Tensor]:
    asked = [(row, v) for row, events in enumerate(histories) for v in range(len(events) + 1)]
    row, end = zip(*asked, strict=True)
    return torch.tensor(row), torch.tensor(end, dtype=torch.int32)


def check(histories: list[list[Event]], spec: SequenceSpec, pad: int) -> None:
    """Places, keys and alignment are the kernel's, whose rows have their padding on the left."""
    rows = rows_of(histories, pad)
    length = rows.item.shape[1]
    row, end = prefixes(histories)
    shift = (length - rows.length)[row]
    expected = kernel(
        row_tags(histories, length), row.numpy(), torch.where(end > 0, end + shift, 0).numpy(), spec
    )
    for family in spec.families:
        found = strands(rows, row, end, family)
        pos, key = expected[family.name]
        assert found.pos.shape == (len(row), family.strands, family.length)
        assert torch.equal(found.mask, found.pos >= 0)
        assert found.key.tolist() == key.tolist()
        places = np.where(pos >= 0, pos - shift.numpy()[:, None, None], -1)
        missing = family.length - pos.shape[2]  # the kernel's strands are no longer than the row
        assert found.pos[..., missing:].tolist() == places.tolist()
        assert (found.pos[..., :missing] == -1).all()


@given(st.lists(drawn_histories(20), min_size=1, max_size=4), specs, st.integers(0, 3))
def test_equal_to_the_kernel(histories: list[list[Event]], spec: SequenceSpec, pad: int) -> None:
    check(histories, spec, pad)


def test_equal_to_the_kernel_on_long_rows() -> None:
    rng = np.random.default_rng(5)
    check([random_history(rng, int(size)) for size in (200, 150, 1, 90)], SequenceSpec(), 0)


@given(drawn_histories(20), st.sampled_from(FAMILIES), st.integers(1, 3), st.integers(1, 3))
def test_equal_to_the_definition(events: list[Event], name: str, most: int, length: int) -> None:
    family = FamilySpec(name, 1 if name == "recent" else most, length)
    rows = rows_of([events])
    row, end = prefixes([events])
    found = strands(rows, row, end, family)
    for v in range(len(events) + 1):
        own = [
            (key, [place for place in places if place >= 0])
            for key, places in zip(found.key[v].tolist(), found.pos[v].tolist(), strict=True)
            if key
        ]
        assert own == oracle.strands(events, v, family)


@given(st.lists(drawn_histories(20), min_size=1, max_size=3), st.integers(0, 2))
def test_the_theme_mask_shows_each_prefix_its_own_strand(histories: list[list[Event]], pad: int) -> None:
    """Row i of the mask is the newest strand of the prefix that ends with i, where it has a theme."""
    rows = rows_of(histories, pad)
    mask = theme_mask(rows)
    for at, events in enumerate(histories):
        for i, event in enumerate(events):
            seen = mask[at, i].nonzero()[:, 0].tolist()
            if event.theme_running >= 2:
                family = FamilySpec("theme", 1, 100)
                assert seen == oracle.strands(events, i + 1, family)[0][1]
            else:
                assert seen == [j for j in range(i + 1) if events[j].session == event.session]
    assert mask.any(-1).all(), "a softmax over nothing is not a number"


@given(drawn_histories(20), st.sampled_from(FAMILIES), st.data())
def test_reads_nothing_behind(events: list[Event], name: str, data: st.DataObject) -> None:
    v = data.draw(st.integers(1, len(events)))
    opened = events[v - 1].session
    changed = [event._replace(theme_session=8) if event.session == opened else event for event in events]
    changed[v:] = [
        event._replace(category=7, mode=4, theme_running=9, theme_session=9) for event in changed[v:]
    ]
    family = FamilySpec(name, 1 if name == "recent" else 2, 3)
    one, other = (
        strands(rows_of([row]), torch.tensor([0]), torch.tensor([v]), family) for row in (events, changed)
    )
    assert torch.equal(one.pos, other.pos) and torch.equal(one.key, other.key)


@pytest.mark.parametrize("name", FAMILIES)
def test_one_graph(name: str) -> None:
    """Static shapes: torch.compile needs no break, and gives the same."""
    rng = np.random.default_rng(6)
    rows = rows_of([random_history(rng, 30) for _ in range(3)])
    row, end = torch.tensor([0, 2, 2]), torch.tensor([5, 30, 0], dtype=torch.int32)
    family = FamilySpec(name, 1 if name == "recent" else 3, 4)

    def of(session: torch.Tensor) -> torch.Tensor:
        return strands(replace(rows, session=session), row, end, family).pos

    compiled = torch.compile(of, backend="eager", fullgraph=True)
    assert torch.equal(compiled(rows.session), of(rows.session))


def test_rows_are_left_as_they_were() -> None:
    rng = np.random.default_rng(7)
    rows = rows_of([random_history(rng, 30)])
    kept: Rows = rows.map(torch.clone)
    for name in FAMILIES:
        strands(rows, torch.tensor([0]), torch.tensor([30]), FamilySpec(name, 1, 4))
    assert torch.equal(rows.session_theme, kept.session_theme) and torch.equal(rows.theme, kept.theme)
