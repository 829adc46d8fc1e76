"""The encoders: short-term pooling and target attention, against loops in float64."""

import math

import pytest
import torch
from torch import Tensor, nn

from training.layers.encoder import Shape
from training.models.ulim.encoders import ShortTerm, TargetAttention

DIM, HEADS = 8, 2


def target_attention(seed: int = 0) -> TargetAttention:
    torch.manual_seed(seed)
    module = TargetAttention(DIM, HEADS, ages=5).double().eval()
    nn.init.normal_(module.age.weight)
    return module


@torch.no_grad()
def by_loops(module: TargetAttention, query: Tensor, events: Tensor, age: Tensor) -> Tensor:
    """One query (dim,), events (T, dim), ages (T,): the block written out."""
    seen = [at for at in range(len(age)) if age[at] > 0]
    if not seen:
        return query
    asked = module.query(module.before(query)).reshape(HEADS, -1)
    heads = []
    for head in range(HEADS):
        logits, values = [], []
        for at in seen:
            key = module.key(events[at]).reshape(HEADS, -1)[head]
            logits.append(asked[head] @ key / math.sqrt(DIM / HEADS) + module.age.weight[age[at], head])
            values.append(module.value(events[at]).reshape(HEADS, -1)[head])
        weights = [float(logit.exp() / sum(other.exp() for other in logits)) for logit in logits]
        heads.append(sum(weight * value for weight, value in zip(weights, values, strict=True)))
    out = query + module.merge(torch.cat(heads))
    return out + module.feed(module.after(out))


def test_target_attention_equals_its_definition() -> None:
    module = target_attention()
    query, events = torch.randn(3, DIM).double(), torch.randn(3, 6, DIM).double()
    age = torch.randint(0, 6, (3, 4, 6))
    age[0, 0] = 0
    found = module(query, events, age)
    for n in range(3):
        for k in range(4):
            expected = by_loops(module, query[n], events[n], age[n, k])
            assert torch.allclose(found[n, k], expected, atol=1e-12)


def test_long_vector_reads_its_category_only() -> None:
    module = target_attention()
    query, events = torch.randn(1, DIM).double(), torch.randn(1, 6, DIM).double()
    age = torch.tensor([[[3, 0, 2, 0, 1, 0]]])
    before = module(query, events, age)
    changed = events.clone()
    changed[:, [1, 3, 5]] += 10
    assert torch.equal(module(query, changed, age), before)
    for at in (0, 2, 4):  # and each of the others matters
        changed = events.clone()
        changed[:, at] += 1
        assert not torch.allclose(module(query, changed, age), before)


def test_nothing_seen_gives_the_query_and_finite_gradients() -> None:
    module = target_attention().train()
    query = torch.randn(2, DIM).double().requires_grad_()
    found = module(query, torch.randn(2, 6, DIM).double(), torch.zeros(2, 1, 6, dtype=torch.int64))
    assert torch.equal(found[:, 0], query)
    found.sum().backward()
    assert query.grad is not None
    assert torch.equal(query.grad, torch.ones_like(query))
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


def test_heads_must_divide() -> None:
    with pytest.raises(ValueError, match="divide"):
        TargetAttention(8, 3, ages=5)


def short_term() -> ShortTerm:
    torch.manual_seed(1)
    return ShortTerm(Shape(DIM, 1, HEADS)).eval()


def test_short_vector_does_not_depend_on_padding() -> None:
    module = short_term()
    events = torch.randn(2, 5, DIM)
    gap, opens = torch.tensor([3, 4]), torch.tensor([True, False])
    bare = module(events, torch.ones(2, 5, dtype=torch.bool), gap, opens)
    padded = torch.cat([torch.randn(2, 7, DIM), events], dim=1)
    valid = torch.arange(12).expand(2, 12) >= 7
    assert torch.allclose(module(padded, valid, gap, opens), bare, atol=1e-5)


def test_samples_of_like_length_are_encoded_without_their_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same vectors as all at once, of lengths from 0 to all places in any order."""
    module, places = short_term().double(), 20
    count = torch.randint(0, places + 1, (70,), generator=torch.Generator().manual_seed(1))
    given_to = torch.randn(70, places, DIM).double(), torch.arange(places) >= places - count[:, None]
    query = count % 5, count % 2 == 0
    found = module(*given_to, *query)
    encoded: list[tuple[int, ...]] = []
    module.encoder.register_forward_pre_hook(lambda _, args: encoded.append(tuple(args[0].shape[:2])))
    module(*given_to, *query)
    longest = count.sort().values
    assert encoded == [(32, int(longest[31])), (32, int(longest[63])), (6, int(longest[69]))]
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(found, module(*given_to, *query), rtol=1e-12, atol=1e-12)
    assert encoded[3:] == [(70, places)]
    monkeypatch.undo()
    assert module(*(x[:0] for x in (*given_to, *query))).shape == (0, DIM)


def test_short_vector_pools_states_that_see_both_ways() -> None:
    module = short_term()
    events = torch.randn(1, 5, DIM)
    gap, opens, valid = torch.tensor([3]), torch.tensor([True]), torch.ones(1, 5, dtype=torch.bool)
    states = module.encoder(events, torch.ones(1, 5, 5, dtype=torch.bool))
    expected = module.head(states.mean(1), gap, opens)
    assert torch.allclose(module(events, valid, gap, opens), expected, atol=1e-6)


def test_short_vector_of_nothing_reads_the_start_and_the_query() -> None:
    module = short_term()
    nothing = torch.zeros(2, 4, dtype=torch.bool)
    events = torch.randn(2, 4, DIM)
    found = module(events, nothing, torch.tensor([31, 31]), torch.tensor([True, True]))
    assert torch.equal(found[0], found[1])
    other = module(events, nothing, torch.tensor([31, 3]), torch.tensor([True, True]))
    assert not torch.allclose(other[0], other[1])
    found.sum().backward()
    assert module.start.grad is not None
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())
