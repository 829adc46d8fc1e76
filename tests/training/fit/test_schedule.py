"""The rate's schedule, against PyTorch's own."""

from itertools import pairwise

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

from training.fit.schedule import learning_rate


@pytest.mark.parametrize(("steps", "warmup"), [(2, 0.3), (10, 0.3), (57, 0.1), (200, 0.5)])
def test_one_cycle_is_pytorchs(steps: int, warmup: float) -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    oracle = OneCycleLR(optimiser, max_lr=2e-3, total_steps=steps, pct_start=warmup, cycle_momentum=False)
    for step in range(steps):
        assert learning_rate(step, steps, 2e-3, warmup, "one_cycle") == pytest.approx(
            optimiser.param_groups[0]["lr"], rel=1e-9
        )
        optimiser.step()
        if step < steps - 1:
            oracle.step()


def test_constant_rises_and_stays() -> None:
    rates = [learning_rate(step, 100, 1.0, 0.1, "constant") for step in range(100)]
    assert rates[0] == pytest.approx(1 / 25)
    assert all(a < b for a, b in pairwise(rates[:10]))
    assert set(rates[9:]) == {1.0}


@pytest.mark.parametrize("shape", ["one_cycle", "constant"])
def test_one_step_and_no_warmup_have_a_rate(shape: str) -> None:
    assert learning_rate(0, 1, 1.0, 0.3, shape) > 0  # type: ignore[arg-type]
    assert learning_rate(0, 5, 1.0, 0.0, shape) > 0.5  # type: ignore[arg-type]
