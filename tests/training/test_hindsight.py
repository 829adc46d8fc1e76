"""What a target's row shows of the past does not depend on what came after the target."""

import numpy as np
import pytest

from tests.oracles.strands import Event
from tests.training.gold import SPEC, Histories, gold_rows, random_users
from training.gold import arrow_blocks
from training.source import RowSource
from training.splits import EVERYTHING, FOREVER
from training.vocabulary import TrainVocabulary, learn_vocabulary
from training.windows import WindowRule

Seen = dict[tuple[int, int], list[int]]
"""(user, item of a target) -> items that it sees. Items name events within a user."""


def seen(users: Histories, vocabulary: TrainVocabulary, rule: WindowRule) -> Seen:
    found: Seen = {}
    index = vocabulary.items.index
    for rows in RowSource.of_arrow(gold_rows(users), SPEC, vocabulary, rule).rows(EVERYTHING):
        row, place = rows.loss_mask.nonzero(as_tuple=True)
        for r, p in zip(row.tolist(), place.tolist(), strict=True):
            visible = rows.item[r, : int(rows.read_at[r, p]) + 1].numpy()
            found[int(rows.user_id[r]), int(index[rows.item[r, p]])] = index[visible].tolist()
    return found


def cut_after(events: list[Event], place: int) -> list[Event]:
    """The history up to ``place``, with the last session's final theme as it then was."""
    last = events[place]
    return [
        event if event.session != last.session else event._replace(theme_session=last.theme_running)
        for event in events[: place + 1]
    ]


@pytest.mark.parametrize("rule", [WindowRule.whole(SPEC.pool), WindowRule(32, 16, (8, 32)), WindowRule()])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_future_changes_nothing_of_what_a_target_sees(rule: WindowRule, seed: int) -> None:
    users = random_users(seed, 8, 400)
    rows = gold_rows(users)
    vocabulary = learn_vocabulary(arrow_blocks(rows, SPEC), FOREVER)
    whole = seen(users, vocabulary, rule)
    rng = np.random.default_rng(seed)
    short = {user: cut_after(events, int(rng.integers(len(events)))) for user, events in users.items()}
    then = seen(short, vocabulary, rule)
    assert len(then) > 200
    for key, items in then.items():
        assert whole[key] == items


def test_rows_of_later_chunks_lose_what_only_later_targets_need() -> None:
    """Otherwise the test above could not fail."""
    rows = gold_rows(random_users(1, 8, 400))
    kept = sum(int(block.length.sum()) for block in arrow_blocks(rows, SPEC)())
    assert 0 < kept < int(rows.column("length").to_numpy().sum())
