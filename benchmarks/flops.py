"""Parameters and FLOPs of one inference target: MoS, its controls and its rivals on every backbone.

    python benchmarks/flops.py --length 256 --codes 16 40

MoS is counted as it serves, in its last stage, in which every session's code is looked up among K; sessions
hold 8 events. Body parameters leave embedding tables out. Retrieval counts the states of one target, not the
products with the catalogue; click models count one candidate. The control is as wide as MoS' parameters ask.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from training.flops import forward_flops, one_target
from training.layers.embed import Sizes
from training.layers.encoder import Shape
from training.layers.poolers import POOLERS, LastState
from training.models.match import body_parameters, matched_width
from training.models.moe import PoolerMixture, TokenMoESASRec, token_moe_encoder
from training.models.mos import MoS, MoSRanker
from training.models.pooled import PooledModel
from training.models.sasrec import SASRec

SIZES = Sizes(items=1000, categories=50, types=5, modes=5)
CATEGORY = torch.ones(SIZES.items, dtype=torch.int64)
Pooler = Callable[[], nn.Module]


def retrieval(shape: Shape, codes: list[int]) -> Iterator[tuple[str, Any]]:
    every = {k: MoS(SIZES, shape, codes=k) for k in codes}
    mos = every[codes[0]]  # codes are buffers: K does not change the parameters

    def control(inner: int) -> SASRec:
        return SASRec(SIZES, replace(shape, ff=inner / shape.dim))

    yield "SASRec", SASRec(SIZES, shape)
    yield "SASRec, parameters of MoS", control(matched_width(control, body_parameters(mos)))
    for k, model in every.items():
        yield f"MoS, {k} codes", model
    yield "token MoE, top 2 of 4", TokenMoESASRec(SIZES, shape)


def clicks(shape: Shape, codes: list[int], length: int, pooler: Pooler) -> Iterator[tuple[str, Any]]:
    every = {k: MoSRanker(SIZES, CATEGORY, pooler(), shape, codes=k, length=length) for k in codes}
    mos = every[codes[0]]

    def single(backbone: nn.Module, inner: int | None = None) -> PooledModel:
        return PooledModel(SIZES, CATEGORY, backbone, shape, length=length, head_inner=inner)

    width = matched_width(lambda inner: single(pooler(), inner), body_parameters(mos))
    yield "single sequence", single(pooler())
    yield "single sequence, parameters of MoS", single(pooler(), width)
    for k, model in every.items():
        yield f"MoS, {k} codes", model
    yield "dense MoE, 4 backbones", single(PoolerMixture(pooler, shape.dim, 4))
    yield "MoE, top 2 of 4 backbones", single(PoolerMixture(pooler, shape.dim, 4, top=2))
    if isinstance(mos.pooler, LastState):
        yield "token MoE, top 2 of 4", single(LastState(token_moe_encoder(shape)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--length", type=int, nargs="*", default=[256])
    parser.add_argument("--codes", type=int, nargs="*", default=[16, 40])
    arguments = parser.parse_args()
    shape = Shape(dropout=0.0)
    backbones: dict[str, Pooler] = {"sasrec": lambda: LastState(shape.encoder())}
    backbones |= {name: lambda make=make: make(shape.dim) for name, make in POOLERS.items()}
    print("| events | form | backbone | model | body parameters | MFLOPs | × single sequence |")
    print("|---|---|---|---|---|---|---|")
    for length in arguments.length:
        report(length, "retrieval", "sasrec", retrieval(shape, arguments.codes))
        for name, pooler in backbones.items():
            report(length, "click", name, clicks(shape, arguments.codes, length, pooler))


def report(length: int, form: str, backbone: str, models: Iterator[tuple[str, Any]]) -> None:
    rows, samples = one_target(SIZES, length)
    first = 0.0
    for name, model in models:
        flops = forward_flops(model, rows, samples) / 1e6
        first = first or flops
        size = body_parameters(model)
        print(f"| {length} | {form} | {backbone} | {name} | {size:,} | {flops:.3f} | {flops / first:.2f} |")


if __name__ == "__main__":
    main()
