"""Grouped batches: every target once, groups of one category, negatives and histories by brute force."""

import math
from collections import Counter, defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.test_batching import CATEGORY, COUNT, STREAM, counts, generator
from training.batch import Batch, Groups, Rows, Samples
from training.groups import GroupBatches, GroupRule
from training.in_category import InCategory
from training.negatives import SharedNegatives

KNOWN = list(range(2, len(COUNT)))


def epoch(rule: GroupRule, seed: int = 0) -> list[Batch]:
    batcher = GroupBatches(rule, InCategory(COUNT, CATEGORY), SharedNegatives(COUNT, 20))
    order, draws = generator(seed), generator(seed)
    plans = [plan for rows in STREAM for plan in batcher.add(rows, order)]
    return [plan(draws) for plan in [*plans, *batcher.finish(order)]]


def parts(batch: Batch) -> tuple[Rows, Samples, Groups]:
    assert batch.samples is not None and batch.groups is not None
    return batch.rows, batch.samples, batch.groups


def all_rows() -> dict[tuple[int, int], tuple[Rows, int]]:
    """Rows by what tells windows of one row apart: the row and its first event's time."""
    return {
        (int(part.row_id[at]), int(part.ts[at, 0])): (part, at)
        for found in STREAM
        for part in found.values()
        for at in range(len(part.length))
    }


@settings(max_examples=8)
@given(st.integers(2, 6), st.integers(1, 9), st.integers(1, 200))
def test_every_target_counts_once(groups: int, samples: int, pool_rows: int) -> None:
    rule = GroupRule(groups, samples, 16, 8, pool_rows)
    seen: Counter[tuple[int, int, int]] = Counter()
    found = epoch(rule)
    for batch in found:
        rows, asked, grouped = parts(batch)
        assert len(asked.row) == rule.size == len(grouped.mask)
        for n in grouped.mask.nonzero()[:, 0].tolist():
            row = int(asked.row[n])
            seen[int(rows.row_id[row]), int(rows.ts[row, 0]), int(asked.place[n])] += 1
    expected = {
        (*key, place)
        for key, (part, at) in all_rows().items()
        for place in part.loss_mask[at].nonzero()[:, 0].tolist()
    }
    assert set(seen) == expected and set(seen.values()) == {1}
    pools = -(-sum(counts().rows.values()) // pool_rows)
    bound = GroupBatches(rule, InCategory(COUNT, CATEGORY), None).most_steps(counts())
    assert len(found) <= bound <= len(found) + 2 * pools + 1


@pytest.mark.parametrize("rule", [GroupRule(4, 3, 16, 8, 40), GroupRule(2, 8, 5, 3, 10_000)])
def test_groups_share_a_category_and_its_negatives(rule: GroupRule) -> None:
    sizes = Counter(CATEGORY[2:].tolist())
    mass: dict[int, float] = defaultdict(float)
    for item in KNOWN:
        mass[int(CATEGORY[item])] += float(COUNT[item]) ** 0.75
    kinds = set()
    for batch in epoch(rule):
        _, asked, grouped = parts(batch)
        count = len(grouped.category)
        kinds.add(count)
        drawn = rule.negatives if count == rule.groups else rule.own_negatives
        assert grouped.negative.shape == grouped.logq.shape == (count, drawn)
        category = CATEGORY[asked.item.long()].view(count, -1)
        assert (category == grouped.category[:, None]).all()
        for g, name in enumerate(grouped.category.tolist()):
            items = grouped.negative[g][grouped.negative[g] > 0].tolist()
            if name < 2:
                assert not items
                continue
            assert (CATEGORY[items] == name).all()
            if sizes[name] <= drawn:
                assert items == [item for item in KNOWN if CATEGORY[item] == name]
                assert not grouped.logq[g].any()
            else:
                assert len(items) == drawn
                for item, logq in zip(items, grouped.logq[g].tolist(), strict=True):
                    assert math.isclose(
                        logq, math.log(drawn * float(COUNT[item]) ** 0.75 / mass[name]), abs_tol=2e-3
                    )
        for item, logq in zip(asked.item.tolist(), grouped.positive_logq.tolist(), strict=True):
            name = int(CATEGORY[item])
            whole = name < 2 or sizes[name] <= drawn
            expected = 0.0 if whole else math.log(drawn * float(COUNT[item]) ** 0.75 / mass[name])
            assert math.isclose(logq, expected, abs_tol=2e-3)
    assert kinds == {rule.groups, rule.size}, "both full groups and groups of one occur"


def test_histories_hold_what_a_sample_sees() -> None:
    for batch in epoch(GroupRule(4, 3, 16, 8, 40)):
        rows, asked, grouped = parts(batch)
        for n in range(len(asked.row)):
            row, end = int(asked.row[n]), int(asked.end[n])
            category = rows.category[row, :end].tolist()
            own = int(CATEGORY[int(asked.item[n])])
            theirs = [place for place in range(end) if category[place] == own and own >= 2]
            assert grouped.long_pos[n].tolist() == ([-1] * 64 + theirs)[-64:]
            assert grouped.short_pos[n].tolist() == ([-1] * 100 + list(range(end)))[-100:]
            pointers = list(dict.fromkeys(name for name in reversed(category) if name >= 2))[:32]
            assert grouped.pointer_category[n].tolist() == pointers + [0] * (32 - len(pointers))


def test_rows_are_as_they_were_and_ask_for_the_samples_only() -> None:
    known = all_rows()
    for batch in epoch(GroupRule(4, 3, 16, 8, 40)):
        rows, asked, _ = parts(batch)
        places = {(int(row), int(place)) for row, place in zip(asked.row, asked.place, strict=True)}
        assert {(int(row), int(place)) for row, place in rows.loss_mask.nonzero().tolist()} == places
        assert (rows.read_at[~rows.loss_mask] == -1).all()
        assert (rows.read_at[asked.row, asked.place.long()] + 1 == asked.end).all()
        for at in range(len(rows.length)):
            whole, place = known[int(rows.row_id[at]), int(rows.ts[at, 0])]
            size = whole.item.shape[1]
            for name in ("item", "category", "ts", "session", "theme", "session_theme"):
                ours, theirs = getattr(rows, name)[at], getattr(whole, name)[place]
                assert torch.equal(ours[:size], theirs) and not ours[size:].any()


def test_nothing_behind_a_sample_matters() -> None:
    """Categories at or after its end change no history of a sample."""
    from training.groups import histories

    batch = epoch(GroupRule(4, 3, 16, 8, 40))[0]
    rows, asked, _ = parts(batch)
    for n in range(len(asked.row)):
        one = Samples(**{name: getattr(asked, name)[n : n + 1] for name in NAMES})
        changed = rows.map(torch.clone)
        changed.category[int(one.row), int(one.end) :] = 3
        category = CATEGORY[one.item.long()]
        for before, after in zip(
            histories(rows, one, category), histories(changed, one, category), strict=True
        ):
            assert torch.equal(before, after)


NAMES = ("row", "end", "place", "item", "category", "query_ts", "query_gap", "new_session")


def test_a_seed_decides_the_batches() -> None:
    rule = GroupRule(4, 3, 16, 8, 40)
    one, same, other = ([batch.samples.item.tolist() for batch in epoch(rule, seed)] for seed in (1, 1, 2))  # type: ignore[union-attr]
    assert one == same != other
