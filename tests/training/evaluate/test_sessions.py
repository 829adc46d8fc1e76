"""Facts about sessions and slices of targets against the histories themselves."""

from itertools import chain

import numpy as np
import pandas as pd
import pytest
import torch

from tests.oracles.strands import Event
from tests.training.chains import chain_rows
from tests.training.evaluate.data import batches, histories, source
from tests.training.gold import SPEC, hashed
from training.batch import Batch, all_targets
from training.evaluate.sessions import SessionFacts
from training.evaluate.slices import SLICES, slice_columns
from training.windows import WindowRule


def oracle(events: list[Event]) -> dict[int, tuple[int, bool, int]]:
    """Session -> (hop, returns, hops before), walking one user's sessions in order."""
    themes = {event.session: event.theme_session for event in events}
    found, seen, hops = {}, set(), 0
    for session in sorted(themes):
        theme, before = themes[session], themes.get(session - 1, 1)
        hop = -1 if theme < 2 or before < 2 else int(theme != before)
        found[session] = (hop, hop == 1 and theme in seen, hops)
        hops += hop == 1
        seen.add(theme)
    return found


@pytest.mark.parametrize("rule", [None, WindowRule.whole(SPEC.pool)])
@pytest.mark.parametrize("seed", range(4))
def test_facts_from_rows_are_those_of_the_histories(seed, rule):
    users = histories(seed)
    facts = SessionFacts.from_batches(batches(source(users, rule)))
    found = {
        (user, session): (hop, returns, hops)
        for user, session, hop, returns, hops in zip(
            facts.user.tolist(),
            facts.ordinal.tolist(),
            facts.hop.tolist(),
            facts.returns.tolist(),
            facts.hops_before.tolist(),
            strict=True,
        )
    }
    expected = {
        (hashed(user), session): fact
        for user, events in users.items()
        for session, fact in oracle(events).items()
        if len({event.ts for event in events}) > 1
    }
    assert found == expected
    assert sum(fact[1] for fact in found.values()) > 5


def test_without_the_session_before_a_hop_is_undecided():
    """Sessions 1, 2 and 4 of a user, themes 5, 6, 5, and another user's first one."""
    user, ordinal = np.array([7, 7, 7, 8]), np.array([1, 2, 4, 5])
    facts = SessionFacts.from_themes(user, ordinal, np.array([5, 6, 5, 9], np.int32))
    assert facts.hop.tolist() == [-1, 1, -1, -1]
    assert not facts.returns.any()
    whole = SessionFacts.from_themes(user, np.array([1, 2, 3, 5]), np.array([5, 6, 5, 9], np.int32))
    assert whole.hop.tolist() == [-1, 1, 1, -1]
    assert whole.returns.tolist() == [False, False, True, False]


def test_labels_come_in_any_order_and_only_once():
    user, ordinal = np.array([7, 3, 7, 7]), np.array([2, 1, 1, 3])
    facts = SessionFacts.from_flags(
        user, ordinal, np.array([1, -1, -1, 0], np.int8), np.array([True, False, False, False])
    )
    assert facts.user.tolist() == [3, 7, 7, 7]
    assert facts.hop.tolist() == [-1, -1, 1, 0]
    assert facts.hops_before.tolist() == [0, 0, 0, 1]
    assert facts.find(np.array([7, 3]), np.array([2, 1])).tolist() == [2, 0]
    with pytest.raises(
        ValueError, match="1 targets lie in sessions without facts, such as session 9 of user 7"
    ):
        facts.find(np.array([7, 7]), np.array([2, 9]))
    with pytest.raises(ValueError, match="session 1 of user 7 is given more than once"):
        SessionFacts.from_flags(np.array([7, 7]), np.array([1, 1]), np.zeros(2, np.int8), np.zeros(2, bool))


def test_returning_targets_are_those_the_generator_marks():
    rows, returns, _ = chain_rows(30, seed=4)
    samples = all_targets(rows)
    columns = slice_columns(rows, samples, SessionFacts.from_batches([Batch(rows)]))
    assert torch.equal(torch.from_numpy(columns["returning"].to_numpy()), returns[rows.loss_mask])
    assert columns["returning"].sum() > 20
    opens = rows.new_session[rows.loss_mask].numpy()
    assert (columns["session_start"].to_numpy() == opens).all()
    assert (columns["history"].to_numpy() == (rows.read_at[rows.loss_mask] + 1).numpy()).all()
    later = columns[columns["hops"] > 0]
    assert set(later["hop"]) <= {0, 1}


def test_slices_part_the_targets():
    frame = pd.DataFrame(
        {
            "history": [0, 9, 10, 49, 50, 199, 200, 900],
            "hops": [0, 1, 4, 5, 90, 0, 0, 0],
            "session_start": [True, True] + [False] * 6,
            "hop": [-1, 1, 0, 0, 1, 1, 0, 0],
            "returning": [False, True] + [False] * 6,
        }
    )
    held = {name: np.flatnonzero(mask(frame)).tolist() for name, mask in SLICES.items()}
    assert held["all"] == list(range(8))
    assert held["first_of_session"] == [0, 1] and held["within_session"] == [2, 3, 4, 5, 6, 7]
    assert held["first_after_return"] == [1]
    assert held["hopping"] == [1, 4, 5] and held["not_hopping"] == [2, 3, 6, 7]
    for prefix in ("history", "hops"):
        parts = [held[name] for name in SLICES if name.startswith(f"{prefix}_")]
        assert sorted(chain(*parts)) == list(range(8))
    assert held["history_50_199"] == [4, 5] and held["hops_1_4"] == [1, 2]
