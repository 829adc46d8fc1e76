"""The linear kernel against the definition in float64: values, gradients, causality, memory."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize, silu

from training.models.cmsl.kernel import (
    coefficients,
    linear_attention,
    monomials,
    quadratic_attention,
    silu_taylor,
)


def drawn(length: int, dim: int = 16, batch: tuple[int, ...] = (2, 2), seed: int = 0) -> tuple[Tensor, ...]:
    """Unit queries and keys, and values; float64."""
    draw = torch.Generator().manual_seed(seed)
    query, key, value = torch.randn(3, *batch, length, dim, generator=draw, dtype=torch.float64)
    return normalize(query, dim=-1), normalize(key, dim=-1), value


def definition(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """One place at a time, from the formula; shares nothing with the kernel."""
    out = torch.zeros_like(value)
    for i in range(query.shape[-2]):
        for j in range(i + 1):
            score = (query[..., i, :] * key[..., j, :]).sum(-1)
            out[..., i, :] += (score / 2 + score**2 / 4)[..., None] * value[..., j, :]
    return out


def test_the_polynomial_is_that_of_silu() -> None:
    score = torch.linspace(-1, 1, 201, dtype=torch.float64)
    assert ((silu_taylor(score) - silu(score)).abs() <= score**4 / 48 + 1e-12).all()


@given(st.integers(1, 20), st.integers(0, 10))
def test_features_reproduce_the_polynomial(dim: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, dim, generator=draw, dtype=torch.float64)
    features = [monomials(z) * coefficients(dim, z).sqrt() for z in (x, y)]
    assert features[0].shape == (dim + dim * (dim + 1) // 2,)
    torch.testing.assert_close(features[0] @ features[1], silu_taylor(x @ y))


@given(st.integers(1, 70), st.integers(1, 20), st.integers(1, 6))
def test_equal_to_the_definition(length: int, chunk: int, dim: int) -> None:
    """Any length, divisible by the chunk or not."""
    given_to = drawn(length, dim, (2,), seed=length)
    expected = definition(*given_to)
    torch.testing.assert_close(linear_attention(*given_to, chunk), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(quadratic_attention(*given_to), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("length", [1, 127, 128, 129, 1000, 2048])
def test_float32_is_within_1e_5_of_the_reference(length: int) -> None:
    given_to = drawn(length)
    expected = quadratic_attention(*given_to)
    found = linear_attention(*(x.float() for x in given_to))
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("length", [3, 7, 8])
def test_gradients(length: int) -> None:
    given_to = [x.requires_grad_() for x in drawn(length, 3, (1,))]
    assert torch.autograd.gradcheck(lambda q, k, v: linear_attention(q, k, v, 3), given_to)


def test_gradients_of_float32_are_those_of_the_reference() -> None:
    given_to = drawn(300)
    weight = torch.randn(given_to[2].shape, dtype=torch.float64)
    exact = [x.clone().requires_grad_() for x in given_to]
    (quadratic_attention(*exact) * weight).sum().backward()
    single = [x.float().requires_grad_() for x in given_to]
    (linear_attention(*single) * weight.float()).sum().backward()
    for one, other in zip(single, exact, strict=True):
        assert (one.grad - other.grad).abs().max() <= 1e-5 * other.grad.abs().max()


def test_no_place_reads_a_later_one() -> None:
    given_to = drawn(300)
    whole = linear_attention(*given_to)
    for cut in (1, 127, 128, 129, 299):
        changed = [torch.cat([x[..., :cut, :], 7 * x[..., cut:, :].flip(-2)], dim=-2) for x in given_to]
        found = linear_attention(*changed)
        torch.testing.assert_close(found[..., :cut, :], whole[..., :cut, :], rtol=0, atol=1e-12)
        assert not torch.allclose(found[..., cut:, :], whole[..., cut:, :])


def test_half_precision_inputs_are_summed_in_float32() -> None:
    given_to = [x.bfloat16() for x in drawn(300)]
    expected = quadratic_attention(*(x.double() for x in given_to))
    with torch.autocast("cpu", torch.bfloat16):
        found = linear_attention(*given_to)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def kept_bytes(form: object, length: int) -> int:
    """What a forward pass keeps for its backward pass, each storage once."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    given_to = [x.float().requires_grad_() for x in drawn(length, batch=(1, 1))]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = form(*given_to)
        total = sum(kept.values())
    out.sum().backward()
    return total


def test_memory_grows_with_the_length_not_with_its_square() -> None:
    growth = kept_bytes(linear_attention, 4096) / kept_bytes(linear_attention, 1024)
    assert growth < 4.4, f"four times the length keeps {growth:.1f} times the memory"
    assert kept_bytes(quadratic_attention, 4096) / kept_bytes(quadratic_attention, 1024) > 12


def test_one_graph() -> None:
    given_to = [x.float() for x in drawn(300)]
    compiled = torch.compile(linear_attention, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*given_to), linear_attention(*given_to))
