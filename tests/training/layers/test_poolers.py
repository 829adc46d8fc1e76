import pytest
import torch
from torch.nn.functional import gelu

from training.layers.encoder import Shape
from training.layers.poolers import POOLERS, Din, LastState, Sdim, Twin

POOLER_NAMES = [*POOLERS, "sasrec"]


def pooler(name, dim=8):
    torch.manual_seed(3)
    made = LastState(Shape(dim=dim, layers=1).encoder()) if name == "sasrec" else POOLERS[name](dim)
    return made.eval()


def histories(n=3, t=7, c=4, d=8, dtype=torch.float32):
    draw = torch.Generator().manual_seed(0)
    x, target = (torch.randn(n, size, d, generator=draw, dtype=dtype) for size in (t, c))
    valid = torch.arange(t) >= torch.tensor([0, 3, 6])[:n, None]  # right-aligned: 7, 4 and 1 events
    return x, target, valid


def test_din_equals_loops():
    x, target, valid = histories(dtype=torch.float64)
    din = Din(8, inner=5).double()
    found = din(x, target, valid)
    for n in range(3):
        for c in range(4):
            expected = torch.zeros(8, dtype=torch.float64)
            for t in range(7):
                if valid[n, t]:
                    inner = (
                        din.event.weight @ x[n, t]
                        + din.event.bias
                        + din.candidate.weight @ target[n, c]
                        + din.product.weight @ (x[n, t] * target[n, c])
                    )
                    expected = expected + (din.out.weight[0] @ gelu(inner) + din.out.bias[0]) * x[n, t]
            torch.testing.assert_close(found[n, c], expected)


def test_din_equals_its_naive_form_with_its_gradients():
    """The naive form multiplies every event by every candidate before the network reads the product."""
    x, target, valid = histories()
    din = Din(8)
    found = din(x, target, valid)
    product = din.product(x[:, None] * target[:, :, None])
    inner = gelu(product + din.event(x)[:, None] + din.candidate(target)[:, :, None])
    naive = (din.out(inner)[..., 0] * valid[:, None]) @ x
    torch.testing.assert_close(found, naive, atol=1e-6, rtol=1e-5)
    for mine, plain in zip(
        *(torch.autograd.grad(out.square().sum(), [*din.parameters()]) for out in (found, naive)), strict=True
    ):
        torch.testing.assert_close(mine, plain, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("top", [1, 3, 50])
def test_twin_equals_loops_and_searches_by_its_own_scores(top):
    x, target, valid = histories(dtype=torch.float64)
    twin = Twin(8, heads=2, top=top).double()
    found = twin(x, target, valid)
    for n in range(3):
        events = [t for t in range(7) if valid[n, t]]
        for c in range(4):
            query = (twin.query.weight @ target[n, c]).view(2, 4)
            scores = {t: (query * (twin.key.weight @ x[n, t]).view(2, 4)).sum(1) / 4**0.5 for t in events}
            best = sorted(events, key=lambda t: -scores[t].mean().item())[:top]
            weights = torch.stack([scores[t] for t in best]).softmax(0)  # (top, heads)
            values = torch.stack([(twin.value.weight @ x[n, t]).view(2, 4) for t in best])
            expected = twin.merge.weight @ (weights[..., None] * values).sum(0).flatten()
            torch.testing.assert_close(found[n, c], expected, atol=1e-6, rtol=1e-6)  # float32 scores


def test_twin_hard_search_is_a_narrower_valid():
    x, target, valid = histories()
    twin = Twin(8, top=2).eval()
    same = torch.zeros(3, 4, 7, dtype=torch.bool)
    same[:, 1, 2] = True
    hard = twin(x, target, valid[:, None] & same)
    only = twin.merge(twin.value(x[:, 2]))
    torch.testing.assert_close(hard[:1, 1], only[:1])
    assert (hard[1:] == 0).all() and (hard[:, [0, 2, 3]] == 0).all()


def test_sdim_equals_loops():
    x, target, valid = histories(dtype=torch.float64)
    sdim = Sdim(8, rounds=6, bits=2)
    found = sdim(x, target, valid)
    planes = sdim.projection.view(8, 6, 2)
    for n in range(3):
        for c in range(4):
            rounds = []
            for r in range(6):

                def sign(vector, r=r):
                    return tuple((vector.float() @ planes[:, r] > 0).tolist())

                hits = [x[n, t] for t in range(7) if valid[n, t] and sign(x[n, t]) == sign(target[n, c])]
                total = sum(hits) if hits else torch.zeros(8, dtype=torch.float64)
                rounds.append(total / total.norm() if hits else total)
            torch.testing.assert_close(found[n, c], torch.stack(rounds).mean(0))


def test_sdim_collides_as_simhash_should():
    """Two vectors at angle θ share a signature of b bits with probability (1 − θ/π) ** b."""
    torch.manual_seed(0)
    sdim = Sdim(16, rounds=4000, bits=3)
    a = torch.zeros(16)
    a[0] = 1.0
    b = torch.zeros(16)
    b[:2] = 1.0  # 45 degrees
    share = (sdim.signatures(a) == sdim.signatures(b)).float().mean()
    assert float(share) == pytest.approx(0.75**3, abs=0.03)


def test_sdim_hashes_in_full_precision():
    torch.manual_seed(0)
    sdim, x = Sdim(16), torch.randn(2000, 16)
    plain = sdim.signatures(x)
    narrow = (x.half() @ sdim.projection.half() > 0) != (x @ sdim.projection > 0)
    assert narrow.any()
    with torch.autocast("cpu", torch.float16):
        assert torch.equal(sdim.signatures(x), plain)


@pytest.mark.parametrize("name", POOLER_NAMES)
def test_every_valid_event_counts_the_last_and_the_first_included(name):
    x, target, valid = histories(n=1)
    made = pooler(name)
    plain = made(x, target, valid)
    for place in range(7):
        changed = x.clone()
        changed[:, place] = -x[:, place]
        assert not torch.allclose(made(changed, target, valid), plain, atol=1e-6), place


@pytest.mark.parametrize("name", POOLER_NAMES)
def test_hidden_events_do_not_count(name):
    x, target, valid = histories()
    made = pooler(name)
    changed = torch.where(valid[..., None], x, torch.randn_like(x))
    torch.testing.assert_close(made(x, target, valid), made(changed, target, valid))
    alone = made(x[1:2, 3:], target[1:2], valid[1:2, 3:])
    torch.testing.assert_close(made(x, target, valid)[1:2], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", POOLER_NAMES)
def test_an_empty_history_gives_zeros_and_finite_gradients(name):
    x, target, _ = histories()
    made = pooler(name)
    x.requires_grad_(True)
    pooled = made(x, target, torch.zeros(3, 7, dtype=torch.bool))
    assert (pooled == 0).all()
    pooled.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", POOLER_NAMES)
def test_candidates_are_scored_alone(name):
    x, target, valid = histories()
    made = pooler(name)
    torch.testing.assert_close(
        made(x, target, valid)[:, 2:3], made(x, target[:, 2:3], valid), atol=1e-6, rtol=1e-5
    )


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="divisible"):
        Twin(9, heads=2)
