import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.layers.rope import Rotary


def rotated_score(query, key, at, to):
    """⟨query, key⟩ after the places turned them, in complex float64."""
    half = len(query) // 2
    angle = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    turned = [
        torch.complex(x[:half], x[half:]) * torch.polar(torch.ones(half).double(), angle * place)
        for x, place in ((query.double(), at), (key.double(), to))
    ]
    return float((turned[0] * turned[1].conj()).real.sum())


def test_scores_equal_complex_rotation():
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, 5, 8)
    places = torch.tensor([[0, 3, 4, 100, 1000]])
    q, k = Rotary(8)(query, key, places)
    scores = (q @ k.mT)[0, 0]
    for i, at in enumerate(places[0].tolist()):
        for j, to in enumerate(places[0].tolist()):
            assert float(scores[i, j]) == pytest.approx(
                rotated_score(query[0, 0, i], key[0, 0, j], at, to), abs=2e-4
            )


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 500), st.integers(0, 2**31 - 1))
def test_scores_depend_on_distances_only(shift, seed):
    draw = torch.Generator().manual_seed(seed)
    query, key = torch.randn(2, 2, 3, 6, 8, generator=draw)
    places = torch.randint(0, 50, (2, 6), generator=draw)
    plain, moved = (
        q @ k.mT for q, k in (Rotary(8)(query, key, places), Rotary(8)(query, key, places + shift))
    )
    torch.testing.assert_close(plain, moved, atol=1e-3, rtol=1e-3)


def test_float64_stays_exact():
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)
    q, k = Rotary(8).double()(query, key, torch.tensor([[1000]]))
    turned, _ = Rotary(8)(query, query, torch.tensor([[1000]]))
    plain, _ = Rotary(8)(key, key, torch.tensor([[0]]))
    assert q.dtype == torch.float64 and torch.equal(q, turned) and torch.equal(plain, key)
    found = float((q * plain).sum())
    assert found == pytest.approx(rotated_score(query[0, 0, 0], key[0, 0, 0], 1000, 0), abs=1e-12)
    assert float((q * k).sum()) == pytest.approx(float((query * key).sum()), abs=1e-12)


def test_bfloat16_angles_are_exact():
    """Places of long rows do not fit bfloat16: angles must be computed in float32."""
    query = torch.randn(1, 1, 2, 8)
    places = torch.tensor([[1001, 1003]])
    wide, _ = Rotary(8)(query, query, places)
    narrow, _ = Rotary(8)(query.bfloat16(), query.bfloat16(), places)
    torch.testing.assert_close(narrow.float(), wide, atol=0.03, rtol=0.03)


def test_odd_heads_are_refused():
    with pytest.raises(ValueError, match="7 channels"):
        Rotary(7)
