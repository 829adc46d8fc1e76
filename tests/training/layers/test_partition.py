import pytest
import torch

from training.layers import partition
from training.layers.partition import log_partition


def plain(states, table, bias=None, hidden=None):
    logits = states @ table.T + (0 if bias is None else bias)
    if hidden is not None:
        logits = logits.masked_fill(hidden.view(len(hidden), *[1] * (states.dim() - 2), -1), -torch.inf)
    return logits.logsumexp(-1)


@pytest.mark.parametrize("cells", [1, 50, 1 << 20])
@pytest.mark.parametrize("shape", [(5, 6), (5, 4, 6)])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("hiding", [False, True])
def test_value_and_gradients_equal_the_plain_formula(monkeypatch, cells, shape, biased, hiding):
    monkeypatch.setattr(partition, "CPU_CELLS", cells)
    torch.manual_seed(0)
    leaves = [torch.randn(*shape, dtype=torch.float64), torch.randn(9, 6, dtype=torch.float64)]
    bias = torch.randn(9) if biased else None
    hidden = torch.rand(5, 9) < 0.4 if hiding else None
    weight = torch.randn(shape[:-1])
    gradients = []
    for formula in (log_partition, plain):
        states, table = (leaf.clone().requires_grad_(True) for leaf in leaves)
        found = formula(states, table, bias, hidden)
        (found * weight).sum().backward()
        gradients.append((found.detach().float(), states.grad, table.grad))
    for mine, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(0, 3), (0, 2, 3)])
def test_of_no_state_there_is_no_sum(shape):
    assert log_partition(torch.randn(*shape), torch.randn(4, 3)).shape == shape[:-1]


def test_where_everything_is_hidden_the_sum_is_next_to_nothing_and_the_gradients_are_finite():
    states, table = torch.randn(2, 3, requires_grad=True), torch.randn(4, 3)
    found = log_partition(states, table, None, torch.ones(2, 4).bool())
    found.sum().backward()
    assert (found < -1e8).all() and states.grad.isfinite().all()


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
    wide = (states @ table.T).logsumexp(-1)
    wide.sum().backward()
    assert found.dtype == torch.float32 and narrow.dtype == torch.float32
    torch.testing.assert_close(found, wide, atol=0.02, rtol=0.01)
    torch.testing.assert_close(narrow, states.grad, atol=0.01, rtol=0.02)
