import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import gelu, layer_norm

from training.layers.encoder import Encoder, Shape, visible_mask


def reference(encoder, x, visible, places):
    """The encoder by loops over rows, heads, queries and visible keys, in float64."""
    out = torch.empty_like(x)
    for n in range(len(x)):
        h = x[n]
        for block in encoder.blocks:
            normed = layer_norm(h, h.shape[-1:], block.before_attend.weight, block.before_attend.bias)
            h = h + attend(block.attend, normed, visible[n], places[n])
            normed = layer_norm(h, h.shape[-1:], block.before_feed.weight, block.before_feed.bias)
            feed = block.feed
            h = (
                h
                + gelu(normed @ feed.inner.weight.T + feed.inner.bias) @ feed.outer.weight.T
                + feed.outer.bias
            )
        out[n] = layer_norm(h, h.shape[-1:], encoder.norm.weight, encoder.norm.bias)
    return out


def attend(attention, x, visible, places):
    length, dim = x.shape
    width = dim // attention.heads
    project = x @ attention.project.weight.T + attention.project.bias
    mixed = torch.zeros_like(x)
    for head in range(attention.heads):
        own = slice(head * width, (head + 1) * width)
        query, key, value = (project[:, part * dim : (part + 1) * dim][:, own] for part in range(3))
        for i in range(length):
            seen = [j for j in range(length) if visible[i, j]]
            scores = torch.stack([turned(query[i], places[i]) @ turned(key[j], places[j]) for j in seen])
            weights = (scores / width**0.5).softmax(0)
            mixed[i, own] = sum(w * value[j] for w, j in zip(weights, seen, strict=True))
    return mixed @ attention.merge.weight.T + attention.merge.bias


def turned(vector, place):
    half = len(vector) // 2
    angle = place * 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    left, right = vector[:half], vector[half:]
    return torch.cat([left * angle.cos() - right * angle.sin(), right * angle.cos() + left * angle.sin()])


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**31 - 1), st.sampled_from(["causal", "mask", "valid", "both"]))
def test_encoder_equals_loops(seed, kind):
    torch.manual_seed(seed)
    encoder = Encoder(8, layers=2, heads=2).double().eval()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    places = torch.stack([torch.randperm(30)[:5] for _ in range(2)])
    mask = torch.rand(2, 5, 5) < 0.5 if kind in ("mask", "both") else None
    valid = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 0]]).bool() if kind in ("valid", "both") else None
    seen = torch.ones(5, 5).tril().bool().expand(2, -1, -1) if mask is None else mask
    if valid is not None:
        seen = seen & valid[:, None]
    expected = reference(encoder, x, seen | torch.eye(5).bool(), places)
    if valid is not None:
        expected = expected * valid[..., None]
    with torch.no_grad():
        found = encoder(x, mask, valid, places)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=2e-6)  # angles are float32


def test_states_do_not_see_what_follows():
    torch.manual_seed(0)
    encoder = Encoder(16).eval()
    x = torch.randn(1, 9, 16)
    changed = x.clone()
    changed[:, 5:] = torch.randn(1, 4, 16)
    torch.testing.assert_close(encoder(x)[:, :5], encoder(changed)[:, :5])
    assert not torch.allclose(encoder(x)[:, 5:], encoder(changed)[:, 5:])


def test_padding_on_either_side_changes_nothing():
    torch.manual_seed(0)
    encoder = Encoder(16).eval()
    x = torch.randn(2, 6, 16)
    plain = encoder(x)
    noise = torch.randn(2, 3, 16)
    valid = torch.ones(2, 9, dtype=torch.bool)
    valid[:, :3] = False
    right = encoder(torch.cat([noise, x], 1), None, valid)
    torch.testing.assert_close(right[:, 3:], plain, atol=1e-5, rtol=1e-5)
    assert (right[:, :3] == 0).all()
    torch.testing.assert_close(encoder(torch.cat([x, noise], 1))[:, :6], plain, atol=1e-5, rtol=1e-5)


def test_a_row_without_valid_places_stays_finite():
    encoder = Encoder(8).eval()
    states = encoder(torch.randn(1, 4, 8), None, torch.zeros(1, 4, dtype=torch.bool))
    assert (states == 0).all()


def test_no_mask_where_none_is_needed():
    assert visible_mask(torch.zeros(1, 3, 2), None, None) is None


def test_dropout_acts_in_training_only():
    encoder = Encoder(16, dropout=0.5)
    x = torch.randn(1, 4, 16)
    assert not torch.equal(encoder(x), encoder(x))
    encoder.eval()
    assert torch.equal(encoder(x), encoder(x))


def test_compiles_without_graph_breaks():
    encoder = Shape(dim=16).encoder().eval()
    x = torch.randn(2, 4, 16)
    mask = torch.rand(2, 4, 4) < 0.5
    explained = torch._dynamo.explain(encoder)(x, mask)
    assert explained.graph_break_count == 0


def test_width_must_divide_into_heads():
    with pytest.raises(ValueError, match="3 heads"):
        Encoder(16, heads=3)
