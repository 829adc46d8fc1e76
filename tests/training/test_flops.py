from dataclasses import replace
from functools import partial

import pytest
import torch

from training.flops import forward_flops, one_target
from training.layers.embed import Sizes
from training.layers.encoder import Shape
from training.layers.poolers import POOLERS, LastState
from training.models.cmsl.config import CmslConfig
from training.models.cmsl.control import single_strand
from training.models.cmsl.ranking import CmslRanker
from training.models.cmsl.retrieval import Cmsl
from training.models.match import body_parameters, matched_width
from training.models.moe import PoolerMixture
from training.models.mos import MoS, MoSRanker, Stage
from training.models.pooled import PooledModel
from training.models.sasrec import SASRec

SIZES = Sizes(items=100, categories=20, types=5, modes=5)
SHAPE = Shape(dim=16, layers=2, heads=2, ff=2)
CATEGORY = torch.ones(100, dtype=torch.int64)


def encoder_flops(length, dim=16, layers=2, ff=2):
    """2 FLOPs a multiply-add: four projections, two feed-forward maps, scores and weighted values."""
    return layers * (2 * length * dim * dim * (4 + 2 * ff) + 2 * 2 * length * length * dim)


def head_flops(states, dim=16, ff=2):
    return states * 2 * 2 * dim * dim * ff


def gate_flops(experts, dim=16):
    return 2 * (experts * dim * dim + dim * dim + experts * dim)


@pytest.mark.parametrize("length", [64, 256])
def test_sasrec_costs_what_its_formula_says(length):
    found = forward_flops(SASRec(SIZES, SHAPE), *one_target(SIZES, length))
    assert found == encoder_flops(length) + head_flops(1)


def code_flops(sessions, codes, dim=16):
    return 2 * sessions * codes * dim


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("codes", [3, 40])
@pytest.mark.parametrize("length", [64, 256])
def test_mos_costs_its_packed_strands_and_one_choice_of_a_code_a_session(length, codes, stage):
    """In its last stage, as it serves, whatever stage it is in; 3 codes are fewer than the row's themes."""
    model = MoS(SIZES, SHAPE, codes=codes)
    model.router.stage = stage
    found = forward_flops(model, *one_target(SIZES, length))
    routed = head_flops(6) + gate_flops(6) + code_flops(length // 8, codes)
    assert found == encoder_flops(length) + 5 * encoder_flops(32) + routed
    assert model.router.stage is stage and model.training


@torch.no_grad()
@pytest.mark.parametrize("attention", ["softmax", "linear"])
def test_cmsl_and_its_control_cost_the_same(attention):
    """As retrieval and as ranker; also where the caller has gradients off."""
    for build in (partial(Cmsl, SIZES), partial(CmslRanker, SIZES, CATEGORY, history=256)):
        config = CmslConfig(attention=attention)
        models = build(config), build(single_strand(build, config))
        found, control = (forward_flops(model, *one_target(SIZES, 256)) for model in models)
        assert control == pytest.approx(found, rel=0.1)


@pytest.mark.parametrize("codes", [16, 40])
@pytest.mark.parametrize("name", ["sasrec", *POOLERS])
def test_mos_costs_less_than_both_mixtures_of_backbones(name, codes):
    """At the size that models train with by default."""
    shape = Shape()

    def pooler():
        return LastState(shape.encoder()) if name == "sasrec" else POOLERS[name](shape.dim)

    asked = one_target(SIZES, 256)
    single, dense, best = (
        forward_flops(PooledModel(SIZES, CATEGORY, backbone, shape), *asked)
        for backbone in (
            pooler(),
            PoolerMixture(pooler, shape.dim, 4),
            PoolerMixture(pooler, shape.dim, 4, top=2),
        )
    )
    models = {stage: MoSRanker(SIZES, CATEGORY, pooler(), shape, codes=codes) for stage in Stage}
    for stage, model in models.items():
        model.router.stage = stage
        mos = forward_flops(model, *asked)
        assert single < mos < best < dense
        assert model.router.stage is stage
    assert 1.8 * single < best < 2.1 * single and 3.5 * single < dense < 4.1 * single


def test_a_control_is_as_large_as_its_model():
    mos = MoS(SIZES, SHAPE, codes=16)

    def control(inner):
        return SASRec(SIZES, replace(SHAPE, ff=inner / SHAPE.dim))

    width = matched_width(control, body_parameters(mos))
    assert body_parameters(control(width)) == pytest.approx(body_parameters(mos), rel=0.05)
    closest = min(range(1, 200), key=lambda w: abs(body_parameters(control(w)) - body_parameters(mos)))
    assert width == closest
    with pytest.raises(ValueError, match="no width"):
        matched_width(control, 10)


def test_body_parameters_leave_tables_out():
    model = SASRec(SIZES, SHAPE)
    tables = (100 + 20 + 5 + 5 + 32 + 2) * 16
    assert body_parameters(model) == sum(p.numel() for p in model.parameters()) - tables
