"""Prefix averages and the summaries made of them, against a softmax over each prefix."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import softplus

from training.models.cmsl.summary import Summary, prefix_average


def definition(score: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Masses (n,) and means (n, e) of every prefix, one at a time in float64."""
    score, value = score.double(), value.double()
    prefixes = range(1, len(score) + 1)
    mass = torch.stack([score[:end].logsumexp(0) for end in prefixes])
    mean = torch.stack([score[:end].softmax(0) @ value[:end] for end in prefixes])
    return mass, mean


def drawn(length: int, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(length)
    score = scale * torch.randn(length, generator=draw, dtype=torch.float64)
    return score.to(dtype), torch.randn(length, 3, generator=draw, dtype=torch.float64).to(dtype)


@given(st.integers(1, 80), st.integers(2, 9))
def test_equal_to_the_definition(length: int, chunk: int) -> None:
    score, value = drawn(length)
    mass, mean = prefix_average(score, value, chunk)
    expected_mass, expected_mean = definition(score, value)
    torch.testing.assert_close(mass, expected_mass, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mean, expected_mean, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("trend", [-50.0, 0.0, 50.0])
def test_scores_of_any_size_are_safe_in_float32(trend: float) -> None:
    """Scores thousands apart, up or down along the row: e^a alone would be inf or 0."""
    score, value = drawn(300, 1000.0, torch.float32)
    score = score + trend * torch.arange(300)
    score.requires_grad_()
    value.requires_grad_()
    mean = prefix_average(score, value).mean
    torch.testing.assert_close(mean.double(), definition(score, value)[1], rtol=1e-4, atol=1e-5)
    mean.sum().backward()
    assert score.grad.isfinite().all() and value.grad.isfinite().all() and value.grad.any()


def test_long_rows_in_float32() -> None:
    score, value = drawn(5000, 3.0, torch.float32)
    torch.testing.assert_close(
        prefix_average(score, value).mean.double(), definition(score, value)[1], rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("length", [2, 5, 10])
def test_gradients(length: int) -> None:
    given_to = [x.requires_grad_() for x in drawn(length)]
    assert torch.autograd.gradcheck(lambda a, v: prefix_average(a, v, 3), given_to)


def test_memory_grows_with_the_length_not_with_its_square() -> None:
    def kept(length: int) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        score, value = (x.requires_grad_() for x in drawn(length))
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = prefix_average(score, value).mean
            total = sum(sizes.values())
        out.sum().backward()
        return total

    assert kept(8192) / kept(2048) < 4.4


def layer(tokens: int = 3) -> Summary:
    torch.manual_seed(0)
    return Summary(8, tokens, heads=2).double()


def strands(k: int = 2, batch: int = 3, length: int = 40) -> Tensor:
    return torch.randn(k, batch, length, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def by_definition(summary: Summary, given_to: Tensor, end: int) -> Tensor:
    """(B, m, d) of the places before ``end``: a softmax over all k · end tokens per seed and head."""
    k, batch, length, dim = given_to.shape
    x = summary.norm(given_to)
    key, value = summary.key(x), summary.value(x)
    width = dim // summary.heads
    out = torch.zeros(batch, summary.tokens, dim, dtype=given_to.dtype)
    for row in range(batch):
        for token in range(summary.tokens):
            for head in range(summary.heads):
                part = slice(head * width, (head + 1) * width)
                rate = softplus(summary.rate[token, head])
                scores, values = [], []
                for place in range(end):
                    for strand in range(k):
                        own = key[strand, row, place, part] @ summary.seed[token, part] / width**0.5
                        scores.append(own - rate * (length - 1 - place))
                        values.append(value[strand, row, place, part])
                out[row, token, part] = torch.stack(scores).softmax(0) @ torch.stack(values)
    return summary.merge(out)


@pytest.mark.parametrize("end", [1, 16, 23, 40])
def test_summaries_are_those_of_the_definition(end: int) -> None:
    summary, given_to = layer(), strands()
    expected = by_definition(summary, given_to, end)
    torch.testing.assert_close(summary(given_to)[:, end - 1], expected)
    nothing = torch.zeros(3, 3, 8, dtype=torch.float64)
    length = torch.full((3,), end)
    torch.testing.assert_close(summary.at(given_to, nothing, length), expected)


def test_no_summary_reads_a_later_place() -> None:
    summary, given_to = layer(), strands().requires_grad_()
    made = summary(given_to)
    for place in range(given_to.shape[2]):
        (slope,) = torch.autograd.grad(made[:, place].sum(), given_to, retain_graph=True)
        assert not slope[:, :, place + 1 :].any()
        assert slope[:, :, place].any()


def test_what_lies_behind_the_length_has_no_say() -> None:
    summary, given_to = layer(), strands()
    tokens = torch.randn(3, 3, 8, dtype=torch.float64)
    length = torch.tensor([1, 17, 40])
    expected = summary.at(given_to, tokens, length)
    changed = given_to.clone()
    for row, end in enumerate(length.tolist()):
        changed[:, row, end:] = 100.0
    assert torch.equal(summary.at(changed, tokens, length), expected)
    assert not torch.allclose(summary.at(given_to, -tokens, length), expected), "tokens ask"


def test_the_rate_sets_how_fast_the_past_is_forgotten() -> None:
    """With a high rate the summary is that of the last place alone, with none it is of all alike."""
    summary, given_to = layer(), strands()
    with torch.no_grad():
        summary.rate.fill_(60.0)
    torch.testing.assert_close(summary(given_to)[:, 9], by_definition(summary, given_to[:, :, 9:10], 1))
    with torch.no_grad():
        summary.rate.fill_(-60.0)
    torch.testing.assert_close(summary(given_to)[:, -1], summary(given_to.flip(2))[:, -1])
