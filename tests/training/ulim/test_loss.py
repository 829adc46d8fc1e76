"""The softmax within a category, against its definition and against the full softmax it estimates."""

import math

import pytest
import torch

from training.models.ulim.loss import in_category_softmax


def test_equals_its_definition() -> None:
    torch.manual_seed(0)
    table = torch.randn(12, 4, dtype=torch.float64)
    states = torch.randn(6, 4, dtype=torch.float64)
    target = torch.tensor([2, 3, 4, 8, 9, 9])
    negative = torch.tensor([[2, 5, 5, 0], [10, 9, 1, 8]])
    logq, own = torch.randn(2, 4), torch.randn(6)
    found = in_category_softmax(states, table, target, own, negative=negative, logq=logq)
    for n in range(6):
        positive = float(states[n] @ table[target[n]]) - float(own[n])
        total = math.exp(positive)
        for item, q in zip(negative[n // 3].tolist(), logq[n // 3].tolist(), strict=True):
            if item >= 2 and item != target[n]:
                total += math.exp(float(states[n] @ table[item]) - q)
        assert float(found[n]) == pytest.approx(math.log(total) - positive, abs=1e-5)


def test_whole_category_without_correction_is_the_full_softmax() -> None:
    torch.manual_seed(0)
    table, states = torch.randn(9, 4), torch.randn(3, 4)
    items = torch.tensor([3, 5, 6, 8])
    target = torch.tensor([3, 6, 8])
    found = in_category_softmax(
        states, table, target, torch.zeros(3), negative=items[None], logq=torch.zeros(1, 4)
    )
    full = (states @ table[items].T).log_softmax(1)
    assert torch.allclose(found, -full[torch.arange(3), [0, 2, 3]], atol=1e-6)


def test_no_negative_left_costs_nothing() -> None:
    table, states = torch.randn(5, 4), torch.randn(2, 4, requires_grad=True)
    negative = torch.tensor([[2, 0], [1, 0]])
    found = in_category_softmax(
        states, table, torch.tensor([2, 3]), torch.zeros(2), negative=negative, logq=torch.zeros(2, 2)
    )
    assert torch.equal(found, torch.zeros(2))
    found.sum().backward()
    assert states.grad is not None
    assert states.grad.isfinite().all()


def test_a_shift_of_all_items_of_the_category_changes_nothing() -> None:
    """No category leakage: what all items of a category share cannot be learned from."""
    torch.manual_seed(0)
    table, states = torch.randn(9, 4), torch.randn(2, 4)
    negative, target = torch.tensor([[2, 3, 4, 5]]), torch.tensor([6, 2])
    plain = {"positive_logq": torch.zeros(2), "negative": negative, "logq": torch.zeros(1, 4)}
    before = in_category_softmax(states, table, target, **plain)
    after = in_category_softmax(states, table + torch.randn(4), target, **plain)
    assert torch.allclose(before, after, atol=1e-5)
