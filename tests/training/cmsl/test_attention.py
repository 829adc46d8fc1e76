"""Self-attention per strand against dense float64 versions written from the formulas."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import layer_norm, normalize

from training.layers.rope import Rotary
from training.models.cmsl.attention import LinearAttention, SoftmaxAttention, StrandLinear, causal_filter

STRANDS, BATCH, DIM, HEADS, WIDTH = 3, 2, 12, 2, 8  # WIDTH: channels of all heads


def events(length: int) -> Tensor:
    draw = torch.Generator().manual_seed(length)
    return torch.randn(STRANDS, BATCH, length, DIM, generator=draw, dtype=torch.float64)


def made(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind(DIM, STRANDS, HEADS, WIDTH // HEADS).double()


def rotated(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """(n, e) each, turned to their places."""
    places = torch.arange(len(query))[None]
    turned = Rotary(query.shape[1]).double()(query[None, None], key[None, None], places)
    return turned[0][0, 0], turned[1][0, 0]


def parts(layer: nn.Module, x: Tensor, strand: int, row: int, count: int) -> list[Tensor]:
    """The projections (n, WIDTH) of one strand of one row."""
    map_ = layer.project
    return list((x[strand, row] @ map_.weight[strand] + map_.bias[strand]).split(WIDTH, dim=-1)[:count])


def heads(x: Tensor) -> tuple[Tensor, ...]:
    return x.split(WIDTH // HEADS, dim=-1)


def test_strands_do_not_mix() -> None:
    torch.manual_seed(0)
    layer, x = StrandLinear(STRANDS, DIM, 5).double(), events(4)
    found = layer(x)
    for strand in range(STRANDS):
        torch.testing.assert_close(found[strand], x[strand] @ layer.weight[strand] + layer.bias[strand, 0])


@pytest.mark.parametrize("length", [1, 9])
def test_softmax_form(length: int) -> None:
    layer, x = made(SoftmaxAttention), events(length)
    found = layer(x)
    seen = torch.ones(length, length, dtype=torch.bool).tril()
    for strand in range(STRANDS):
        for row in range(BATCH):
            out = []
            for query, key, value in zip(*map(heads, parts(layer, x, strand, row, 3)), strict=True):
                query, key = rotated(query, key)  # noqa: PLW2901
                score = (query @ key.T / (WIDTH / HEADS) ** 0.5).masked_fill(~seen, -torch.inf)
                out.append(score.softmax(-1) @ value)
            expected = torch.cat(out, -1) @ layer.merge.weight[strand] + layer.merge.bias[strand, 0]
            torch.testing.assert_close(found[strand, row], expected)


@pytest.mark.parametrize("length", [1, 9, 150])
def test_linear_form(length: int) -> None:
    """LayerNorm(SiLU's polynomial of QKᵀ · V / t + A V) · SiLU(gate), with a dense A."""
    layer, x = made(LinearAttention), events(length)
    found = layer(x)
    seen = torch.arange(1, length + 1)[:, None]
    for strand in range(STRANDS):
        for row in range(BATCH):
            query, key, value, gate = parts(layer, x, strand, row, 4)
            out = []
            for q, k, v in zip(heads(query), heads(key), heads(value), strict=True):
                q, k = rotated(normalize(q, dim=-1), normalize(k, dim=-1))  # noqa: PLW2901
                score = q @ k.T
                out.append((score / 2 + score**2 / 4).tril() @ v / seen)
            near = torch.zeros_like(value)
            for lag in range(min(64, length)):
                near[lag:] += layer.taps[strand, :, lag] * value[: length - lag]
            mixed = layer_norm(torch.cat(out, -1) + near, (WIDTH,)) * gate * gate.sigmoid()
            expected = mixed @ layer.merge.weight[strand] + layer.merge.bias[strand, 0]
            torch.testing.assert_close(found[strand, row], expected, rtol=1e-5, atol=1e-5)


@given(st.integers(1, 30), st.integers(1, 9))
def test_filter(length: int, size: int) -> None:
    draw = torch.Generator().manual_seed(length)
    x = torch.randn(2, 3, length, 4, generator=draw, dtype=torch.float64)
    taps = torch.randn(2, 4, size, generator=draw, dtype=torch.float64)
    expected = torch.zeros_like(x)
    for place in range(length):
        for lag in range(min(size, place + 1)):
            expected[:, :, place] += taps[:, None, :, lag] * x[:, :, place - lag]
    torch.testing.assert_close(causal_filter(x, taps), expected)


@pytest.mark.parametrize("kind", [SoftmaxAttention, LinearAttention])
def test_no_place_and_no_strand_reads_what_it_must_not(kind: type[nn.Module]) -> None:
    layer, x = made(kind), events(140).requires_grad_()
    found = layer(x)
    for place in (0, 1, 63, 64, 127, 128, 138):
        (slope,) = torch.autograd.grad(found[1, :, place].sum(), x, retain_graph=True)
        assert not slope[1, :, place + 1 :].any() and not slope[0].any() and not slope[2].any()
        assert slope[1, :, : place + 1].any(-1).all(), "every earlier place is read"
