"""PGIN: the mixture of pointer and generator against loops in float64, and what it can see."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.ulim.cases import CATEGORIES, grouped, random_rows, rows_of
from training.batch import Batch, all_targets
from training.models.ulim.pgin import Distributions, Pgin, mix
from training.models.ulim.scatter import scatter_logsumexp


def pgin(seed: int = 0) -> Pgin:
    torch.manual_seed(seed)
    model = Pgin(CATEGORIES, dim=8).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return model


def distributions(seed: int, pointer: torch.Tensor, switch: float) -> Distributions:
    draw = torch.Generator().manual_seed(seed)
    empty = pointer < 2
    logits = torch.randn(pointer.shape, generator=draw).masked_fill(empty, -1e9)
    written = torch.randn(len(pointer), CATEGORIES, generator=draw)
    written[:, :2] = -1e9
    pointed = logits.log_softmax(1).masked_fill(empty, -1e9)
    return Distributions(pointed, written.log_softmax(1), torch.full((len(pointer),), switch))


@given(
    st.integers(0, 1_000),
    st.lists(st.integers(0, CATEGORIES - 1), min_size=5, max_size=5),
    st.floats(-5, 5),
)
def test_mixture_equals_a_loop_in_float64(seed: int, pointer: list[int], switch: float) -> None:
    """Repeated categories too: they add up."""
    names = torch.tensor([pointer])
    found = distributions(seed, names, switch)
    got = mix(found, names)[0].double().exp()
    chance = 1 / (1 + math.exp(-float(found.switch[0])))
    if not any(name >= 2 for name in pointer):
        chance = 0.0
    for category in range(2, CATEGORIES):
        expected = (1 - chance) * math.exp(float(found.generate[0, category]))
        for place, name in enumerate(pointer):
            if name == category:
                expected += chance * math.exp(float(found.pointer[0, place]))
        assert float(got[category]) == pytest.approx(expected, rel=1e-5)
    assert float(got.sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("switch", [-1e4, -200.0, 200.0, 1e4])
def test_loss_is_finite_as_p_nears_0_and_1(switch: float) -> None:
    names = torch.tensor([[4, 2, 0, 0]])
    found = distributions(0, names, switch)
    moved = Distributions(*(part.requires_grad_() for part in found))
    loss = -mix(moved, names)[0, 2:].sum()
    assert loss.isfinite()
    loss.backward()
    for part in moved:
        assert part.grad is not None
        assert part.grad.isfinite().all()
    if switch > 0:  # categories outside the pointer were called impossible: the switch is told so
        assert float(moved.switch.grad) > 0.5


@given(st.integers(0, 1_000))
def test_scatter_logsumexp_equals_a_loop(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    values = torch.randn(2, 6, generator=draw).double() * 300
    values[0, 0] = -torch.inf
    index = torch.randint(0, 4, (2, 6), generator=draw)
    found = scatter_logsumexp(values, index, 4, -7.0)
    for row in range(2):
        for code in range(4):
            own = values[row][(index[row] == code) & (values[row] > -torch.inf)]
            expected = -7.0 if len(own) == 0 else float(own.logsumexp(0))
            assert float(found[row, code]) == pytest.approx(expected, rel=1e-12)


def test_probabilities_sum_to_one_and_name_known_categories() -> None:
    rows = random_rows(1)
    found = pgin()(rows, all_targets(rows))
    assert torch.allclose(found.exp().sum(1), torch.ones(len(found)), atol=1e-5)
    assert float(found[:, :2].detach().max()) < -1e8


def test_without_history_it_generates() -> None:
    rows = rows_of([[(5, 3, 1), (5, 4, 1)]])
    samples = all_targets(rows)
    model = pgin()
    pointer = torch.zeros(2, 32, dtype=torch.int32)
    only = model.distributions(rows, samples, pointer).generate
    assert torch.allclose(model(rows, samples)[:, 2:], only[:, 2:], atol=1e-6)


def test_reads_nothing_at_or_after_the_target() -> None:
    histories = [[(10 * place, 2 + place * 7 % 30, 1 + place // 4) for place in range(12)]]
    changed = [[*histories[0][:6], *((when, 39 - what, 9) for when, what, _ in histories[0][6:])]]
    model = pgin()
    before, after = (model(rows, all_targets(rows))[:7] for rows in (rows_of(histories), rows_of(changed)))
    # the seventh target's own query knows whether it opens a session; its history is the same
    assert torch.allclose(before[:6], after[:6], atol=1e-6)
    first, second = rows_of(histories), rows_of(changed)
    samples = all_targets(first)
    assert torch.allclose(model(first, samples)[:7], model(second, samples)[:7], atol=1e-6)
    assert not torch.allclose(model(first, samples)[7:], model(second, samples)[7:], atol=1e-3)


def test_padding_changes_nothing() -> None:
    histories = [[(10 * place, 2 + place * 7 % 30, 1) for place in range(9)]]
    model = pgin()
    found = [model(rows, all_targets(rows)) for rows in (rows_of(histories), rows_of(histories, length=40))]
    assert torch.allclose(*found, atol=1e-5)


def test_loss_is_the_mean_over_known_categories() -> None:
    rows = random_rows(2)
    samples = all_targets(rows)
    assert bool((samples.category == 1).any())
    model = pgin()
    known = samples.category >= 2
    expected = -model(rows, samples)[known].gather(1, samples.category[known, None].long()).mean()
    assert torch.allclose(model.training_loss(Batch(rows)).total, expected, atol=1e-6)
    batch = grouped(rows)
    assert batch.samples is not None
    mean = model.loss(rows, batch.samples).mean()
    assert torch.allclose(model.training_loss(batch).total, mean, atol=1e-6)


def test_gradients_are_finite_everywhere() -> None:
    rows = random_rows(4)
    model = pgin().train()
    model.training_loss(Batch(rows)).total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
