"""PGIN learns what no frequency can tell: which category's turn it is, and which one comes after."""

import numpy as np
import pytest
import torch
from numpy.random import Generator

from tests.training.ulim.cases import CATEGORIES, Event, rows_of
from training.batch import Batch, Rows, Samples, all_targets
from training.models.ulim.category_baselines import (
    category_hits,
    decayed_categories,
    frequent_categories,
    last_categories,
    tune_half_life,
)
from training.models.ulim.pgin import Pgin

KNOWN = CATEGORIES - 2
DAY, MINUTE = 86_400, 60


def turns(rng: Generator) -> list[int]:
    """Three categories of the user's own take turns, one a session: the pointer can see whose turn it is."""
    own = rng.permutation(KNOWN)[:3]
    return [int(own[session % 3]) for session in range(7)]


def chain(rng: Generator) -> list[int]:
    """Each session's category follows the last one's in a ring, and most are new: they must be generated."""
    first = int(rng.integers(KNOWN))
    return [(first + session) % KNOWN for session in range(4)]


def users(rng: Generator, plan, count: int) -> Rows:  # type: ignore[no-untyped-def]
    """Sessions of one to three events, a day apart."""
    histories = []
    for _ in range(count):
        clock, history = 0, list[Event]()
        for session, category in enumerate(plan(rng), start=1):
            for _ in range(int(rng.integers(1, 4))):
                history.append((clock, 2 + category + KNOWN * int(rng.integers(1, 7)), session))
                clock += MINUTE
            clock += DAY
        histories.append(history)
    return rows_of(histories)


def openings(rows: Rows) -> Samples:
    """The first events of sessions, where the category changes; of the latter half of each history."""
    samples = all_targets(rows)
    kept = samples.new_session & (samples.end * 2 > rows.length[samples.row])
    return samples.map(lambda tensor: tensor[kept])


@pytest.mark.slow
@pytest.mark.parametrize("plan", [turns, chain])
def test_pgin_beats_frequencies(plan) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    model = Pgin(CATEGORIES, dim=16, short=8, dropout=0.0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(100):
        optimiser.zero_grad()
        model.training_loss(Batch(users(rng, plan, 16))).total.backward()
        optimiser.step()

    model.eval()
    rows = users(rng, plan, 100)
    samples = openings(rows)
    popularity = torch.ones(CATEGORIES)
    half_life, _ = tune_half_life([(rows, samples)], popularity, (60.0, 3_600.0, DAY, 7.0 * DAY), k=1)

    def rate(scores: torch.Tensor) -> float:
        return float(category_hits(scores, samples.category, 1).float().mean())

    baselines = [
        rate(last_categories(rows, samples, popularity)),
        rate(frequent_categories(rows, samples, popularity)),
        rate(decayed_categories(rows, samples, popularity, half_life)),  # tuned on the test itself
    ]
    with torch.no_grad():
        assert rate(model(rows, samples)) > max(0.9, 0.3 + max(baselines))
