"""Forward FLOPs of one inference target: a batch of one row of a given length, asked once at its end.

Counted with torch's FlopCounterMode (matrix products, 2 FLOPs a multiply-add) under the MATH attention
backend, since the counter reports nothing for the fused CPU kernels. Nothing is counted for element-wise
work, look-ups, cumulative sums and sorting; the products with codes and with SDIM's hash planes are.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from training.batch import Rows, Samples
from training.layers.embed import Sizes
from training.model import Searchable, as_model
from training.models.moe import Balanced
from training.models.mos import MoS, MoSRanker, Stage


def one_target(sizes: Sizes, length: int, *, themes: int = 8, session: int = 8) -> tuple[Rows, Samples]:
    """A row (1, L) of sessions of ``session`` events that go round the themes, and a target at its end."""
    place = torch.arange(length)[None].int()
    ordinal = place // session + 1
    theme = (ordinal % themes + 2).int()
    ones = torch.ones_like(place)
    rows = Rows(
        item=place % (sizes.items - 2) + 2,
        category=theme.clamp(max=sizes.categories - 1),
        type=ones,
        mode=ones,
        session=ordinal.int(),
        theme=theme,
        session_theme=theme,
        ts=place.long(),
        length=torch.tensor([length], dtype=torch.int32),
        read_at=place - 1,
        query_gap=ones.to(torch.int8),
        new_session=torch.zeros_like(place, dtype=torch.bool),
        loss_mask=place == length - 1,
        row_id=torch.zeros(1, dtype=torch.int64),
        user_id=torch.zeros(1, dtype=torch.int64),
    )
    samples = Samples(
        row=torch.zeros(1, dtype=torch.int64),
        end=torch.tensor([length], dtype=torch.int32),
        place=torch.tensor([length - 1], dtype=torch.int32),
        item=rows.item[0, -1:],
        category=rows.category[0, -1:],
        query_ts=torch.tensor([length]),
        query_gap=torch.ones(1, dtype=torch.int8),
        new_session=torch.zeros(1, dtype=torch.bool),
        cand_item=rows.item[:, -1:],
        cand_category=rows.category[:, -1:],
    )
    return rows, samples


@contextmanager
def deployed(model: nn.Module) -> Iterator[None]:
    """The model as it serves: in evaluation mode, MoS routed by its codes; as it was afterwards."""
    was_training = model.training
    router = model.router if isinstance(model, MoS | MoSRanker) else None
    stage = router.stage if router is not None else None
    model.eval()
    try:
        if router is not None:
            router.stage = Stage.GATE
        yield
    finally:
        if router is not None and stage is not None:
            router.stage = stage
        model.train(was_training)


@torch.enable_grad()
def forward_flops(model: nn.Module, rows: Rows, samples: Samples, *, strand_length: int = 32) -> int:
    """FLOPs of the vectors to search with, the catalogue's products left out, or of a candidate's score.

    A retrieval MoS is asked in its packed form, with strands of ``strand_length`` events; ULIM for its
    next categories and the vectors of those it searches; a click model for one candidate. MoS is counted
    in its last stage whatever stage it is in, so that the choice of codes, one a session, is part of it.
    Gradients are on, since the counter's hooks fail on a parameter's view that was made without.
    """
    if isinstance(model, Balanced):
        return forward_flops(model.get_submodule("model"), rows, samples, strand_length=strand_length)
    counter = FlopCounterMode(display=False)
    with deployed(model), counter, sdpa_kernel(SDPBackend.MATH):
        match model:
            case MoS():
                model.packed_vectors(rows, samples, strand_length)
            case Searchable():
                model.retrieval_vectors(rows, samples)
            case _:
                as_model(model).score_candidates(rows, samples)
    return int(counter.get_total_flops())
