"""The control with one strand: parameters within 5 %, and FLOPs as well."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.training.cmsl.cases import SIZES, SMALL, item_category
from training.models.cmsl.config import CmslConfig
from training.models.cmsl.control import parameters, single_strand
from training.models.cmsl.encoder import CmslEncoder
from training.models.cmsl.ranking import CmslRanker
from training.models.cmsl.retrieval import Cmsl


def retrieval(config: CmslConfig) -> nn.Module:
    return Cmsl(SIZES, config)


def ranker(config: CmslConfig) -> nn.Module:
    return CmslRanker(SIZES, item_category(), config)


def encoder(config: CmslConfig) -> nn.Module:
    """Nothing that k and k = 1 share."""
    return CmslEncoder(config, last_events=True)


@pytest.mark.parametrize("build", [retrieval, ranker, encoder])
@pytest.mark.parametrize("config", [CmslConfig(), CmslConfig(attention="linear"), CmslConfig(strands=8)])
def test_parameters_are_within_5_percent(build: object, config: CmslConfig) -> None:
    control = single_strand(build, config)
    assert control.strands == 1
    assert replace(config, **{name: getattr(control, name) for name in FREE}) == control
    counted = [sum(p.numel() for p in build(sizes).parameters()) for sizes in (control, config)]
    assert counted == [parameters(build, control), parameters(build, config)]
    assert abs(counted[0] - counted[1]) <= 0.05 * counted[1]


FREE = ("strands", "strand_heads", "intents", "hidden")


@pytest.mark.parametrize("form", ["softmax", "linear"])
def test_flops_are_within_10_percent(form: str) -> None:
    config = CmslConfig(attention=form)
    counted = []
    for sizes in (config, single_strand(retrieval, config)):
        model = encoder(sizes).requires_grad_(False)
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            model(torch.randn(2, 256, 64), torch.randn(1, 8, 64))
        counted.append(counter.get_total_flops())
    assert abs(counted[1] - counted[0]) <= 0.1 * counted[0]


def test_where_no_width_fits_it_says_so() -> None:
    def build(config: CmslConfig) -> nn.Module:
        return nn.Linear(1, 50 if config.strands > 1 else 60 + config.hidden)

    with pytest.raises(ValueError, match="100 parameters within 5 %; nearest is 122"):
        single_strand(build, SMALL)


def test_counting_allocates_nothing_and_draws_nothing() -> None:
    state = torch.random.get_rng_state()
    parameters(retrieval, CmslConfig())
    assert torch.equal(torch.random.get_rng_state(), state)
