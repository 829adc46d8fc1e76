"""The rule on frames whose differences are known."""

import numpy as np
import pandas as pd
import pytest

from training.registry.contest import Answers
from training.registry.decision import Rule, duel, faults

USERS, EACH = 300, 6
RULE = Rule("hr_10", ("first_of_session", "within_session"), tolerance=0.05)


def answers(label: str, hits: np.ndarray) -> Answers:
    """Targets of which ``hits`` (N,) are within the first ten; every third one opens a session."""
    count = USERS * EACH
    frame = pd.DataFrame(
        {
            "user": np.arange(count) // EACH,
            "row": 0,
            "place": np.arange(count) % EACH,
            "ts": np.arange(count),
            "item": 2,
            "rank": np.where(hits, 1.0, np.inf),
            "history": 5,
            "hops": 0,
            "session_start": np.arange(count) % 3 == 0,
            "hop": 0,
            "returning": False,
        }
    )
    return Answers(label, frame, {})


def drawn(share: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(USERS * EACH) < share


OPENS = np.arange(USERS * EACH) % 3 == 0


def verdict(ours: np.ndarray, theirs: np.ndarray, rule: Rule = RULE) -> list[str]:
    return faults([duel(answers("v2", ours), answers("champion v1", theirs), rule, guarded=True)], rule)


def test_better_everywhere_passes() -> None:
    assert verdict(drawn(0.5, 1), drawn(0.3, 2)) == []


def test_no_difference_is_not_better() -> None:
    for ours, theirs in ((1, 2), (2, 1)):  # one of them is better by chance
        (fault,) = verdict(drawn(0.3, ours), drawn(0.3, theirs), Rule("hr_10", ()))
        assert fault.startswith("not shown better than champion v1: ")
    (fault,) = verdict(drawn(0.3, 1), drawn(0.3, 1))
    assert "+0.0000 [+0.0000, +0.0000]" in fault


def test_a_fall_on_a_guarded_slice_outweighs_a_gain_over_all() -> None:
    theirs = drawn(0.4, 2)
    ours = np.where(OPENS, drawn(0.2, 3), drawn(0.7, 4))
    (fault,) = verdict(ours, theirs)
    assert fault.startswith("may fall against champion v1 on first of session: -0.")
    assert verdict(ours, theirs, Rule("hr_10", ("within_session",))) == []
    assert verdict(ours, theirs, Rule("hr_10", ("first_of_session",), tolerance=0.5)) == []


def test_the_tolerance_bounds_the_lower_end_and_not_the_estimate() -> None:
    theirs = drawn(0.4, 2)
    ours = np.where(OPENS, theirs, drawn(0.7, 4))
    ours[np.flatnonzero(OPENS)[::20]] ^= True
    one = duel(answers("v2", ours), answers("v1", theirs), RULE, guarded=True).guarded["first_of_session"]
    assert one is not None and one.low < one.estimate < one.high
    between = (abs(one.estimate) + abs(one.low)) / 2
    assert one.low < -between and verdict(
        ours, theirs, Rule("hr_10", ("first_of_session",), tolerance=between)
    )
    assert not verdict(ours, theirs, Rule("hr_10", ("first_of_session",), tolerance=abs(one.low) + 1e-9))


@pytest.mark.parametrize("users", [0, 29, 30])
def test_a_slice_of_few_users_decides_nothing(users: int) -> None:
    rule = Rule("hr_10", ("hopping",))
    ours, theirs = answers("v2", drawn(0.1, 1)), answers("v1", drawn(0.3, 2))
    for one in (ours, theirs):
        one.frame["hop"] = np.where(one.frame["user"] < users, 1, 0)
    found = duel(ours, theirs, rule, guarded=True)
    measured = users >= 30
    assert (found.guarded["hopping"] is not None) == measured
    assert len(found.faults(rule)) == 1 + measured


def test_controls_must_be_beaten_but_guard_nothing() -> None:
    ours, control = answers("v2", drawn(0.5, 1)), answers("control", drawn(0.45, 2))
    assert duel(ours, control, RULE, guarded=False).guarded == {}
    against = [duel(ours, answers("champion", drawn(0.3, 3)), RULE, guarded=True)]
    against.append(duel(ours, answers("control", drawn(0.6, 4)), RULE, guarded=False))
    assert [fault.split(":")[0] for fault in faults(against, RULE)] == ["not shown better than control"]


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_is_paired(seed: int) -> None:
    """Shared luck of a target cancels: few changed targets are told from none."""
    theirs = drawn(0.5, seed)
    ours = theirs.copy()
    ours[np.flatnonzero(~theirs)[:30]] = True
    interval = duel(answers("v2", ours), answers("v1", theirs), Rule("hr_10", ()), guarded=True).overall
    assert interval.above_zero and interval.estimate == pytest.approx(30 / (USERS * EACH))
