import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from training.batch import Samples, Shared
from training.layers.objective import hide_untrained, mean_where, mixture_scores, next_item_nll
from training.losses import (
    Mass,
    full_log_prob,
    mixture,
    sampled_log_prob,
    sampled_nll,
)

ITEMS, DIM = 12, 6


def drawn(seed=0, n=5, experts=None):
    draw = torch.Generator().manual_seed(seed)
    shape = (n, DIM) if experts is None else (n, experts, DIM)
    states = torch.randn(*shape, generator=draw, dtype=torch.float64)
    table = torch.randn(ITEMS, DIM, generator=draw, dtype=torch.float64)
    return states, table, torch.randint(2, ITEMS, (n,), generator=draw)


def sampled(states, table, target, positive_logq, *shared):
    return sampled_nll(sampled_log_prob(states, table, target, *shared), positive_logq)


def samples_of(target):
    n = len(target)
    none = torch.zeros(n, dtype=torch.int32)
    return Samples(torch.arange(n), none + 1, none, target.int(), none, none, none, none.bool())


def test_full_softmax_is_cross_entropy_over_trained_codes():
    states, table, target = drawn()
    expected = cross_entropy(states @ table[2:].T, target - 2, reduction="none")
    torch.testing.assert_close(-full_log_prob(states, table, target).double(), expected, atol=1e-6, rtol=1e-6)


def test_sampled_softmax_over_every_item_once_is_the_full_softmax():
    states, table, target = drawn()
    everything = torch.arange(2, ITEMS)
    zeros = torch.zeros(len(everything))
    found = sampled(states, table, target, torch.zeros(5), everything, zeros)
    torch.testing.assert_close(found, -full_log_prob(states, table, target), atol=1e-6, rtol=1e-5)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31 - 1))
def test_sampled_softmax_equals_its_definition(seed):
    """softmax over {target} and the negatives that are not it, of logit − log expected count."""
    states, table, target = drawn(seed)
    shared = torch.randint(2, ITEMS, (7,), generator=torch.Generator().manual_seed(seed + 1))
    logq = torch.rand(ITEMS, generator=torch.Generator().manual_seed(seed)) - 2
    found = sampled(states, table, target, logq[target], shared, logq[shared])
    for n in range(5):
        own = int(target[n])
        kept = [own, *(int(item) for item in shared if int(item) != own)]
        logits = torch.stack([states[n] @ table[item] - logq[item] for item in kept])
        assert float(found[n]) == pytest.approx(float(-logits.log_softmax(0)[0]), abs=1e-5)


def test_only_accidental_hits():
    states, table, target = drawn(n=1)
    found = sampled(states, table, target, torch.zeros(1), target.repeat(3), torch.zeros(3))
    assert float(found) == 0


def test_the_estimated_sum_over_the_catalogue_is_unbiased():
    """E over draws of Σ exp(logit − logq) over negatives is Σ exp(logit) over all items but the target."""
    states, table, target = drawn(n=1)
    weight = torch.rand(ITEMS - 2, generator=torch.Generator().manual_seed(5)) + 0.2
    share = weight / weight.sum()
    k = 40_000
    draw = torch.Generator().manual_seed(6)
    shared = torch.multinomial(share, k, replacement=True, generator=draw) + 2
    mass = sampled_log_prob(states, table, target, shared, (share[shared - 2] * k).log())
    exact = full_log_prob(states, table, target)
    torch.testing.assert_close(mass.target, exact, atol=0.02, rtol=0.02)
    torch.testing.assert_close(mass.target.exp() + mass.rest.exp(), torch.ones(1), atol=1e-5, rtol=1e-5)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31 - 1))
def test_mixture_is_the_mixture_of_softmaxes(seed):
    """log Σ_e g_e softmax(h_e · E) in plain float64 probabilities."""
    states, table, target = drawn(seed, experts=3)
    gates = torch.rand(5, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).softmax(1)
    probability = (gates[..., None] * (states @ table[2:].T).softmax(-1)).sum(1)  # (N, V - 2)
    expected = probability[torch.arange(5), target - 2].log()
    found = mixture(gates.log(), full_log_prob(states, table, target))
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    nll, each = next_item_nll(states, gates.log(), table, samples_of(target), None)
    torch.testing.assert_close(nll.double(), -expected, atol=1e-5, rtol=1e-5)
    single = -full_log_prob(states[:, 1], table, target)
    torch.testing.assert_close(each[:, 1], single, atol=1e-6, rtol=1e-6)
    scores = mixture_scores(states, gates.log(), table)
    assert (scores[:, :2] == -torch.inf).all()
    torch.testing.assert_close(scores[:, 2:].double(), probability.log(), atol=1e-5, rtol=1e-5)


def test_sampled_mixture_over_every_item_is_the_full_mixture(monkeypatch):
    monkeypatch.setattr("training.layers.objective.FULL_SOFTMAX_ITEMS", 0)
    states, table, target = drawn(experts=3)
    gates = torch.rand(5, 3).log_softmax(1)
    shared = Shared(torch.arange(2, ITEMS), torch.zeros(ITEMS - 2), torch.zeros(5, 1))
    sampled, each = next_item_nll(states, gates, table, samples_of(target), shared)
    full, each_full = next_item_nll(states, gates, table, samples_of(target), None)
    torch.testing.assert_close(sampled, full, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(each, each_full, atol=1e-5, rtol=1e-5)


def test_the_sampled_loss_of_a_mixture_of_one_is_that_of_the_one(monkeypatch):
    monkeypatch.setattr("training.layers.objective.FULL_SOFTMAX_ITEMS", 0)
    states, table, target = drawn(experts=1)
    shared_item, logq = torch.tensor([3, 4, 4, 9]), torch.tensor([-1.0, -2.0, -2.0, 0.5])
    positive = torch.rand(5, 1)
    nll, each = next_item_nll(
        states, torch.zeros(5, 1), table, samples_of(target), Shared(shared_item, logq, positive)
    )
    expected = sampled(states[:, 0], table, target, positive[:, 0], shared_item, logq)
    torch.testing.assert_close(nll, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(each[:, 0], expected, atol=1e-5, rtol=1e-5)


def test_a_mixture_of_equal_experts_costs_as_much_as_one():
    mass = Mass(torch.tensor([-1.0, -3.0]), torch.log1p(-torch.tensor([-1.0, -3.0]).exp()))
    logq = torch.tensor([-2.0, -4.0])
    doubled = Mass(*(mixture(torch.tensor([[0.3, 0.7]]).log(), part[:, None].repeat(1, 2)) for part in mass))
    torch.testing.assert_close(sampled_nll(doubled, logq), sampled_nll(mass, logq))


def test_gradients_reach_states_and_table_and_stay_finite():
    states, table, target = drawn(experts=2)
    states.requires_grad_(True)
    table.requires_grad_(True)
    gates = torch.tensor([[0.0, -1e9]]).repeat(5, 1)  # the second expert is absent
    nll, _ = next_item_nll(states, gates, table, samples_of(target), None)
    nll.sum().backward()
    assert states.grad.isfinite().all() and table.grad.isfinite().all()
    assert (states.grad[:, 0] != 0).any() and (states.grad[:, 1] == 0).all()


def test_slices_of_the_catalogue_do_not_change_scores(monkeypatch):
    states, table, _ = drawn(experts=2)
    gates = torch.rand(5, 2).log_softmax(1)
    whole = mixture_scores(states, gates, table)
    monkeypatch.setattr("training.layers.objective.CATALOGUE_CELLS", 1)
    assert torch.equal(mixture_scores(states, gates, table), whole)


def test_mean_over_nothing_is_zero_with_a_gradient():
    values = torch.tensor([1.0, float("nan")], requires_grad=True)
    mean = mean_where(values, torch.tensor([False, False]))
    mean.backward()
    assert float(mean.detach()) == 0 and (values.grad == 0).all()
    assert float(mean_where(values, torch.tensor([True, False])).detach()) == 1


def test_untrained_codes_are_never_ranked():
    assert hide_untrained(torch.zeros(1, 4)).tolist() == [[-torch.inf, -torch.inf, 0, 0]]
