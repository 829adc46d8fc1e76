import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import gelu

from tests.features.tagged import random_history
from tests.training.rows import rows_of
from training.batch import Batch
from training.layers.embed import Sizes
from training.layers.encoder import FeedForward, Shape
from training.layers.poolers import Din
from training.models.moe import Balanced, PoolerMixture, Routing, TokenMoE, TokenMoESASRec


def test_routing_keeps_the_best_and_sums_to_one():
    torch.manual_seed(0)
    routing, x = Routing(6, 5, 2), torch.randn(7, 6)
    found = routing(x)
    soft = (x @ routing.gate.weight.T + routing.gate.bias).softmax(1)
    for n in range(7):
        best = sorted(range(5), key=lambda e: -soft[n, e].item())[:2]
        total = sum(float(soft[n, e].detach()) for e in best)
        for e in range(5):
            expected = float(soft[n, e].detach()) / total if e in best else 0.0
            assert float(found[n, e].detach()) == pytest.approx(expected, abs=1e-6)


def test_balance_is_one_when_even_and_grows_to_the_number_of_experts():
    routing = Routing(4, 4, 1)
    with torch.no_grad():
        routing.gate.weight.copy_(torch.eye(4))
        routing.gate.bias.zero_()
    routing(1e3 * torch.eye(4))
    assert float(routing.balance.detach()) == pytest.approx(1.0)
    routing(1e3 * torch.eye(4)[:1].repeat(4, 1))
    assert float(routing.balance.detach()) == pytest.approx(4.0)
    routing(torch.randn(0, 4))
    assert float(routing.balance.detach()) == 0


class Counted(nn.Module):
    """A pooler that counts the histories it is given."""

    def __init__(self):
        super().__init__()
        self.inner, self.seen = Din(6), 0

    def forward(self, x, target, valid):
        self.seen += len(x)
        return self.inner(x, target, valid)


@pytest.mark.parametrize("top", [None, 1, 2])
def test_mixture_of_poolers_is_the_weighted_sum(top):
    torch.manual_seed(0)
    mixture = PoolerMixture(Counted, 6, 4, top)
    x, target = torch.randn(5, 7, 6), torch.randn(5, 3, 6)
    valid = torch.arange(7) >= torch.arange(5)[:, None]
    found = mixture(x, target, valid)
    assert sum(expert.seen for expert in mixture.experts) == 5 * (top or 4)
    for n in range(5):
        mean = x[n, n:].mean(0)
        weight = mixture.routing(mean[None])[0]
        each = [
            expert.inner(x[n : n + 1], target[n : n + 1], valid[n : n + 1])[0] for expert in mixture.experts
        ]
        expected = sum(w * out for w, out in zip(weight, each, strict=True))
        torch.testing.assert_close(found[n], expected, atol=1e-5, rtol=1e-4)


def test_token_moe_equals_loops():
    torch.manual_seed(0)
    layer = TokenMoE(Shape(dim=6), 3, 2).eval()
    x = torch.randn(2, 4, 6)
    found = layer(x)
    for n in range(2):
        for t in range(4):
            weight = layer.routing(x[n, t][None])[0]
            assert int((weight > 0).sum()) == 2
            each = [
                gelu(x[n, t] @ e.inner.weight.T + e.inner.bias) @ e.outer.weight.T + e.outer.bias
                for e in layer.experts
            ]
            expected = sum(w * out for w, out in zip(weight, each, strict=True))
            torch.testing.assert_close(found[n, t], expected, atol=1e-5, rtol=1e-4)


def test_padding_is_not_routed(monkeypatch):
    """Neither do experts work for it, nor do they look balanced by it."""
    worked = []
    forward = FeedForward.forward

    def counted(self, x, valid=None):
        if self not in heads:
            worked.append(len(x))
        return forward(self, x, valid)

    torch.manual_seed(0)
    model = Balanced(TokenMoESASRec(Sizes(30, 20, 9, 9), Shape(dim=8, layers=2))).eval()
    heads = [model.model.head.feed]
    monkeypatch.setattr(FeedForward, "forward", counted)
    rng = np.random.default_rng(0)
    users = [[event._replace(category=2) for event in random_history(rng, size)] for size in (12, 7, 3)]
    losses = []
    for pad in (0, 20):
        worked.clear()
        loss = model.training_loss(Batch(rows_of(users, pad)))
        assert sum(worked) == 2 * 2 * (12 + 7 + 3)  # the two best of two layers' experts, for each event
        losses.append(loss)
    torch.testing.assert_close(losses[0].parts, losses[1].parts)


def test_top_is_checked():
    with pytest.raises(ValueError, match="top = 5"):
        Routing(4, 4, 5)
