"""The blocks: construction by its definition, causality at every place, one compiled graph."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from training.models.cmsl.config import CmslConfig
from training.models.cmsl.construction import Construction
from training.models.cmsl.encoder import Block, CmslEncoder, Compression

SMALL = CmslConfig(
    dim=8, strands=3, tokens=4, intents=2, heads=2, strand_heads=1, dim_head=4, hidden=6, dropout=0.0
)
LINEAR = CmslConfig(**{**SMALL.__dict__, "attention": "linear"})
BOTH = pytest.mark.parametrize("config", [SMALL, LINEAR], ids=["softmax", "linear"])


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


def encoder(config: CmslConfig, last_events: bool = True) -> CmslEncoder:
    torch.manual_seed(0)
    return CmslEncoder(config, last_events).double()


def test_construction_is_attention_to_each_groups_intents() -> None:
    torch.manual_seed(0)
    layer = Construction(SMALL).double()
    events, tokens = normal(2, 5, 8), normal(2, 5, 4, 8)
    found = layer(events, tokens)
    assert found.shape == (3, 2, 5, 8)
    width = SMALL.heads * SMALL.dim_head
    for row, place, strand in itertools.product(range(2), range(5), range(3)):
        event, own = events[row, place], layer.norm_tokens(tokens[row, place])
        query = layer.query(layer.norm_events(event))
        group = slice(strand * SMALL.intents, (strand + 1) * SMALL.intents)
        mix = layer.disentangle
        intents = mix.weight[group] @ own + mix.bias[group, None]  # (m̂, d)
        key, value = (intents @ layer.key_value[strand]).split(width, dim=-1)
        out = []
        for head in range(SMALL.heads):
            part = slice(head * SMALL.dim_head, (head + 1) * SMALL.dim_head)
            weight = (key[:, part] @ query[part] / SMALL.dim_head**0.5).softmax(0)
            out.append(weight @ value[:, part])
        torch.testing.assert_close(found[strand, row, place], event + layer.merge(torch.cat(out)))


def test_tokens_of_everyone_are_tokens_of_each_place() -> None:
    torch.manual_seed(0)
    layer = Construction(SMALL).double()
    events, tokens = normal(2, 5, 8), normal(1, 4, 8)
    repeated = tokens[:, None].expand(2, 5, 4, 8)
    torch.testing.assert_close(layer(events, tokens), layer(events, repeated))


@pytest.mark.parametrize("places", [True, False])
def test_intents_keys_and_values_of_every_place_are_never_formed(places: bool) -> None:
    """What backward keeps holds no tensor of the size of K and V of every place and intent, nor near it."""
    torch.manual_seed(0)
    config = replace(SMALL, intents=32)
    layer, events, kept = Construction(config), normal(2, 5, 8).float(), []
    tokens = (normal(2, 5, 4, 8) if places else normal(1, 4, 8)).float()

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(events.requires_grad_(), tokens.requires_grad_())
    scores = config.strands * 2 * 5 * config.intents * config.heads
    assert max(kept) <= scores


def test_compression_reads_all_strands_of_one_place() -> None:
    torch.manual_seed(0)
    layer, strands = Compression(SMALL).double(), normal(3, 2, 5, 8).requires_grad_()
    (slope,) = torch.autograd.grad(layer(strands)[:, 2].sum(), strands)
    assert slope[:, :, 2].any(-1).all()
    assert not slope[:, :, [0, 1, 3, 4]].any()


@BOTH
def test_nothing_reads_a_later_place(config: CmslConfig) -> None:
    """Sequence tokens and the summaries of every block, at every place; 40 places are three chunks."""
    model, events = encoder(config), normal(2, 40, 8).requires_grad_()
    last, made = model(events, normal(1, 4, 8))
    assert last.shape == (2, 40, 8) and [x.shape for x in made] == [(2, 40, 4, 8)] * 2
    for place in range(40):
        for out in (last, *made):
            (slope,) = torch.autograd.grad(out[:, place].sum(), events, retain_graph=True)
            assert not slope[:, place + 1 :].any()
            assert slope[:, : place + 1].any(-1).all(), "every earlier place is read"


@BOTH
def test_a_prefix_alone_gives_the_same(config: CmslConfig) -> None:
    """What stands behind a place, other events or padding, leaves its states as they are."""
    model, events, tokens = encoder(config), normal(2, 150, 8), normal(1, 4, 8)
    whole = model(events, tokens)
    for end in (1, 17, 128, 129):
        short = model(events[:, :end], tokens)
        torch.testing.assert_close(short[0], whole[0][:, :end], rtol=1e-7, atol=1e-7)
        for one, other in zip(short[1], whole[1], strict=True):
            torch.testing.assert_close(one, other[:, :end], rtol=1e-7, atol=1e-7)


@BOTH
def test_tokens_at_an_end_read_up_to_it(config: CmslConfig) -> None:
    model, events, tokens = encoder(config, last_events=False), normal(3, 20, 8), normal(3, 4, 8)
    length = torch.tensor([1, 7, 20])
    _, made = model(events, tokens, length)
    assert [x.shape for x in made] == [(3, 4, 8)] * 2
    for row, end in enumerate(length.tolist()):
        changed = events.clone()
        changed[row, end:] = 9.0
        _, again = model(changed, tokens, length)
        _, alone = model(events[row : row + 1, :end], tokens[row : row + 1], length[row : row + 1])
        for one, two, three in zip(made, again, alone, strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-12)
            torch.testing.assert_close(one[row], three[0])


@BOTH
def test_every_parameter_learns(config: CmslConfig) -> None:
    for last_events, length in ((True, None), (False, torch.tensor([5, 9]))):
        model = encoder(config, last_events)
        last, made = model(normal(2, 9, 8), normal(2, 4, 8), length)
        kept = [last, *made] if last_events else made
        torch.cat([x.flatten() for x in kept]).square().sum().backward()
        idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert not idle


@BOTH
def test_one_graph(config: CmslConfig) -> None:
    torch.manual_seed(0)
    block = Block(config, compress=True)
    given_to = normal(2, 150, 8).float(), normal(2, 4, 8).float(), None
    compiled = torch.compile(block, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*given_to), block(*given_to))


@BOTH
def test_half_precision(config: CmslConfig) -> None:
    """Under autocast the states stay near those of float32. oneDNN is off: its AMX path dies on some VMs."""
    torch.manual_seed(0)
    model = CmslEncoder(config, last_events=True)
    given_to = normal(2, 150, 8).float(), normal(1, 4, 8).float()
    expected = model(*given_to)
    with torch.backends.mkldnn.flags(enabled=False), torch.autocast("cpu", torch.bfloat16):
        found = model(*given_to)
    for one, other in zip((found[0], *found[1]), (expected[0], *expected[1]), strict=True):
        assert (one.float() - other).norm() < 0.03 * other.norm()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strands": 0}, "strands is 0"),
        ({"dropout": 1.0}, "dropout"),
        ({"heads": 3}, "64 does not divide into 3"),
        ({"attention": "cosine"}, "softmax or linear"),
    ],
)
def test_wrong_sizes_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CmslConfig(**change)
