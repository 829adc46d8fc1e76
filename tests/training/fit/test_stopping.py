"""Early stopping, and random states that are put back."""

import math
import random

import numpy as np
import pytest
import torch

from training.fit.random_state import capture, left_alone, restore, seed_everything
from training.fit.stopping import Stopper


def _after(values: list[float], patience: int = 2, min_delta: float = 0.0) -> Stopper:
    stopper = Stopper("ndcg_10", patience, min_delta)
    for step, value in enumerate(values):
        stopper = stopper.after(value, step)
    return stopper


@pytest.mark.parametrize(
    ("values", "best_step", "exhausted"),
    [
        ([0.1, 0.2, 0.3], 2, False),
        ([0.3, 0.2, 0.1], 0, True),
        ([0.3, 0.3, 0.3], 0, True),  # equal is not better
        ([0.1, 0.3, 0.2, 0.4, 0.3], 3, False),
        ([math.nan, 0.1, math.nan], 1, False),
        ([math.nan, math.nan], -1, True),
    ],
)
def test_patience_counts_validations_since_the_best(
    values: list[float], best_step: int, exhausted: bool
) -> None:
    stopper = _after(values)
    assert (stopper.best_step, stopper.exhausted) == (best_step, exhausted)


def test_min_delta_and_no_patience() -> None:
    assert _after([0.1, 0.14], min_delta=0.05).best_step == 0
    assert _after([0.1, 0.16], min_delta=0.05).best_step == 1
    assert not _after([3.0, 2.0, 1.0, 0.0], patience=0).exhausted


def _draw() -> tuple[float, float, float, float]:
    # NumPy's normal draws come in pairs, one of which is cached
    return random.random(), float(np.random.standard_normal()), float(torch.rand(())), random.gauss(0, 1)


def test_restored_states_draw_the_same() -> None:
    seed_everything(5)
    _draw()
    state = capture()
    first = [_draw() for _ in range(3)]
    seed_everything(6)
    restore(state)
    assert [_draw() for _ in range(3)] == first


def test_draws_inside_leave_no_trace() -> None:
    seed_everything(5)
    first = [_draw() for _ in range(2)]
    seed_everything(5)
    second = [_draw()]
    with left_alone():
        _draw()
    assert [*second, _draw()] == first
