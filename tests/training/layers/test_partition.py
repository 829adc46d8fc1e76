import pytest
import torch

from training.layers import partition
from training.layers.partition import log_partition


@pytest.mark.parametrize("cells", [1, 50, 1 << 20])
def test_value_and_gradients_equal_the_plain_formula(monkeypatch, cells):
    monkeypatch.setattr(partition, "CPU_CELLS", cells)
    torch.manual_seed(0)
    leaves = [torch.randn(3, 4, 6, dtype=torch.float64), torch.randn(9, 6, dtype=torch.float64)]
    weight = torch.randn(3, 4)
    gradients = []
    for formula in (log_partition, lambda states, table: (states @ table.T).logsumexp(-1)):
        states, table = (leaf.clone().requires_grad_(True) for leaf in leaves)
        found = formula(states, table)
        (found * weight).sum().backward()
        gradients.append((found.detach().float(), states.grad, table.grad))
    for mine, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, plain, atol=1e-5, rtol=1e-5)


def test_large_logits_do_not_overflow():
    states, table = torch.full((2, 1), 1e3, requires_grad=True), torch.tensor([[1.0], [0.5]])
    found = log_partition(states, table)
    found.sum().backward()
    assert found.tolist() == [1e3, 1e3] and states.grad.tolist() == [[1.0], [1.0]]


def test_under_autocast_products_are_narrow_and_sums_are_not():
    """float16: bfloat16 products crash on sandboxed CPUs that announce AMX and forbid it."""
    torch.manual_seed(0)
    states, table = torch.randn(64, 16, requires_grad=True), torch.randn(300, 16, requires_grad=True)
    with torch.autocast("cpu", torch.float16):
        found = log_partition(states, table)
    found.sum().backward()
    narrow = states.grad.clone()
    states.grad = None
    plain = (states @ table.T).logsumexp(-1)
    plain.sum().backward()
    assert found.dtype == torch.float32 and narrow.dtype == torch.float32
    torch.testing.assert_close(found, plain, atol=0.02, rtol=0.01)
    torch.testing.assert_close(narrow, states.grad, atol=0.01, rtol=0.02)
