"""Training rows against the histories they come from: every target once, and exactly what it may see."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from features.codes import FIRST_INDEX
from tests.features.tagged import histories as drawn_histories
from tests.oracles.strands import Event
from tests.training.gold import SPEC, Histories, gold_rows, hashed, random_users
from training.batch import Rows
from training.errors import ConfigError
from training.gold import arrow_blocks
from training.source import RowSource
from training.splits import EVERYTHING, FOREVER, Split
from training.vocabulary import TrainVocabulary, learn_vocabulary
from training.windows import Targets, WindowRule, cut

SECOND = 1_000_000
RULES = st.sampled_from(
    [
        WindowRule(),
        WindowRule.whole(SPEC.pool),
        WindowRule(8, 5, (4, 8)),
        WindowRule(8, 1, (8,)),
        WindowRule(9, 8, (3, 9)),
        WindowRule(2, 1, (2,)),
    ]
)


def source(users: Histories, rule: WindowRule, train_end: int = FOREVER) -> RowSource:
    rows = gold_rows(users)
    return RowSource.of_arrow(rows, SPEC, learn_vocabulary(arrow_blocks(rows, SPEC), train_end), rule)


def before(events: list[Event], target: Event) -> list[Event]:
    return [event for event in events if event.ts < target.ts]


def check(users: Histories, found: RowSource, rule: WindowRule, split: Split = EVERYTHING) -> None:
    """Items name events within a user, so a row can be read back without knowing how it was made."""
    names = {hashed(user): user for user in users}
    vocabulary = found.vocabulary
    seen: list[tuple[str, int]] = []
    for rows in found.rows(split):
        assert rows.item.shape[1] in rule.lengths
        for at in range(len(rows.length)):
            user = names[int(rows.user_id[at])]
            seen += [(user, item) for item in check_row(rows, at, users[user], vocabulary, rule)]
    expected = [
        (user, event.item)
        for user, events in users.items()
        for event in events
        if before(events, event) and split.start <= event.ts // SECOND < split.end
    ]
    assert sorted(seen) == sorted(expected)


def check_row(
    rows: Rows, at: int, events: list[Event], vocabulary: TrainVocabulary, rule: WindowRule
) -> list[int]:
    length = int(rows.length[at])
    items = vocabulary.items.index[rows.item[at].numpy()]
    history = {event.item: event for event in events}
    row = [history[item] for item in items[:length].tolist()]
    assert length > 0 and not rows.item[at, length:].any() and not rows.ts[at, length:].any()
    assert [event.item for event in row] == sorted(event.item for event in row)
    for name in ("session", "mode"):
        assert getattr(rows, name)[at, :length].tolist() == [getattr(event, name) for event in row]
    themes = np.array([0, 1, *vocabulary.themes])
    assert themes[rows.theme[at, :length].numpy()].tolist() == [event.theme_running for event in row]
    categories = vocabulary.categories.index[rows.category[at].numpy()]
    assert categories[:length].tolist() == [event.category for event in row]
    assert rows.ts[at, :length].tolist() == [event.ts // SECOND for event in row]
    places = rows.loss_mask[at].nonzero()[:, 0].tolist()
    assert places[-1] == length - 1, "events after the last target are left out"
    assert (rows.read_at[at][~rows.loss_mask[at]] == -1).all()
    for place in places:
        target, read = row[place], int(rows.read_at[at, place])
        visible = before(events, target)
        assert row[read] == visible[-1]
        assert all(event.ts < target.ts for event in row[: read + 1])
        enough = min(len(visible), rule.context, SPEC.family("recent").length)
        assert row[read + 1 - enough : read + 1] == visible[len(visible) - enough :]
        gap = target.ts // SECOND - visible[-1].ts // SECOND
        assert int(rows.query_gap[at, place]) == int(np.floor(np.log2(1 + gap)))
        assert bool(rows.new_session[at, place]) == (target.session != visible[-1].session)
        closed = [event for event in row[: read + 1] if event.session != visible[-1].session]
        final = {event.session: event.theme_session for event in closed}
        own = themes[rows.session_theme[at, : len(closed)].numpy()].tolist()
        assert own == [final[event.session] for event in closed]
    return [row[place].item for place in places]


@given(st.lists(drawn_histories(40), min_size=1, max_size=3), RULES)
def test_every_target_is_there_once_and_sees_its_past(rows: list[list[Event]], rule: WindowRule) -> None:
    users = {f"u{at}": events for at, events in enumerate(rows)}
    check(users, source(users, rule), rule)


@pytest.mark.parametrize("rule", [WindowRule(), WindowRule(32, 16, (8, 32)), WindowRule.whole(SPEC.pool)])
def test_long_histories(rule: WindowRule) -> None:
    users = random_users(11, 10, 400)
    check(users, source(users, rule), rule)


SIX_USERS = random_users(13, 6)
SIX_ROWS = source(SIX_USERS, WindowRule(32, 16, (8, 32)))


@given(st.integers(0, 120), st.integers(0, 120))
def test_a_split_has_the_targets_of_its_time(start: int, size: int) -> None:
    check(SIX_USERS, SIX_ROWS, SIX_ROWS.rule, Split("some", start, start + size))


def test_splits_share_no_target_and_lose_none() -> None:
    users = random_users(14)
    found = source(users, WindowRule())
    parts = [Split("train", -FOREVER, 50), Split("valid", 50, 90), Split("test", 90, FOREVER)]
    count = [sum(int(rows.loss_mask.sum()) for rows in found.rows(part)) for part in (*parts, EVERYTHING)]
    assert sum(count[:3]) == count[3] > 0 and min(count) > 0


def test_unknown_items_are_no_training_targets_but_count_elsewhere() -> None:
    users = random_users(15, 4)
    found = source(users, WindowRule(), train_end=8)
    rest = Split("rest", 8, FOREVER)
    every = [rows.item[rows.loss_mask] for rows in found.rows(rest)]
    known = [rows.item[rows.loss_mask] for rows in found.rows(rest, known_only=True)]
    assert (torch.cat(every) == 1).any()
    assert (torch.cat(known) >= FIRST_INDEX).all()
    assert len(torch.cat(known)) == int((torch.cat(every) >= FIRST_INDEX).sum())


def test_batches_keep_to_the_token_budget_and_order() -> None:
    users = random_users(16, 40)
    found = source(users, WindowRule())
    one, other = (list(found.batches(EVERYTHING, tokens=512)) for _ in range(2))
    assert len(one) == len(other) > 10
    for left, right in zip(one, other, strict=True):
        assert left.rows.item.numel() <= 512
        assert torch.equal(left.rows.item, right.rows.item) and torch.equal(
            left.rows.row_id, right.rows.row_id
        )
        assert left.samples is not None
        assert torch.equal(left.samples.item, left.rows.item[left.samples.row, left.samples.place.long()])
        assert len(left.samples.row) == int(left.rows.loss_mask.sum())
    rows = {int(row) for batch in one for row in batch.rows.row_id}
    assert len(rows) == len(gold_rows(users)) - sum(not n for n in gold_rows(users)["n_targets"].to_pylist())


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), min_size=1, max_size=60),
    st.integers(2, 12),
    st.integers(1, 11),
)
def test_windows_hold_each_target_once(runs: list[tuple[int, int]], length: int, context: int) -> None:
    """One row made of runs of equal times; places are checked one by one."""
    context = min(context, length - 1)
    read = [start - 1 for start, n in _starts(runs) for _ in range(n)]
    places = [place for place, before in enumerate(read) if before >= 0]
    targets = Targets(
        np.zeros(len(places), np.int64),
        np.array(places, np.int64),
        np.array([read[p] for p in places], np.int64),
    )
    found = cut(targets, WindowRule(length, context, (length,)))
    assert len(found.window) == len(places)
    owned: list[int] = []
    for window in range(len(found.row)):
        held = [
            int(found.begin[window]) + at + (int(found.jump[window]) if at >= found.jump_at[window] else 0)
            for at in range(int(found.length[window]))
        ]
        assert 1 <= len(held) <= length and held == sorted(set(held))
        for at in np.flatnonzero(found.window == window).tolist():
            place = held[int(found.place[at])]
            last = held[int(found.read[at])]
            assert last == read[place]
            enough = min(context, last + 1)
            assert held[int(found.read[at]) + 1 - enough : int(found.read[at]) + 1] == list(
                range(last + 1 - enough, last + 1)
            )
            owned.append(place)
        assert held[-1] == owned[-1]
    assert sorted(owned) == places


def _starts(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    sizes = [size for _, size in runs]
    return [(sum(sizes[:at]), size) for at, size in enumerate(sizes)]


@pytest.mark.parametrize("wrong", [(8, 8, (8,)), (8, 0, (8,)), (8, 4, (8, 4)), (8, 4, (4,))])
def test_a_window_rule_that_cannot_hold_is_refused(wrong: tuple[int, int, tuple[int, ...]]) -> None:
    with pytest.raises(ConfigError):
        WindowRule(*wrong)
