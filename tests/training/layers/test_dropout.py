"""The mask's rate, scale and gradient, and that it is random."""

import pytest
import torch

from training.layers.dropout import Dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.93])
def test_drops_at_its_rate_and_keeps_the_mean(rate: float) -> None:
    torch.manual_seed(0)
    layer, x = Dropout(rate), torch.ones(257, 1001)
    found = layer(x)
    assert torch.unique(found).tolist() == pytest.approx([0, 1 / (1 - rate)], rel=1e-3)
    spread = (rate * (1 - rate) / x.numel()) ** 0.5
    assert float((found == 0).float().mean()) == pytest.approx(rate, abs=5 * spread)
    kept = (found > 0).double()
    for shift in (1, 2, 4):  # neighbours come from one word, and are independent all the same
        both = (kept[:, shift:] * kept[:, :-shift]).mean()
        assert float(both) == pytest.approx((1 - rate) ** 2, abs=0.005)


def test_gradient_is_that_of_the_mask() -> None:
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    found = Dropout(0.4)(x)
    found.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(found, x * x.grad)


def test_follows_the_seed_and_the_mode() -> None:
    layer, x = Dropout(0.3), torch.randn(4, 7).bfloat16()
    torch.manual_seed(1)
    first = layer(x)
    other = layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first) and not torch.equal(other, first) and first.dtype == x.dtype
    assert torch.equal(layer.eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x) and not Dropout(1.0)(x).any()
    assert Dropout(0.3)(x[:0]).shape == (0, 7)
