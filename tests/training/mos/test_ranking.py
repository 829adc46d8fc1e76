"""MoS' click form against plain loops: what each expert pools, the gate, the score and the strand's loss."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, gelu

from features.spec import FamilySpec
from tests.features.tagged import random_history
from tests.oracles import strands as oracle
from tests.training.rows import rows_of
from training.batch import Batch, all_targets
from training.layers.embed import Sizes
from training.layers.encoder import Shape
from training.layers.poolers import POOLERS, LastState
from training.models.mos import MoSRanker

SIZES = Sizes(items=60, categories=40, types=6, modes=6)
CATEGORY = torch.arange(60) % 40
SHAPE = Shape(dim=8)
LENGTH, STRANDS, TIMES, WINDOW = 12, 3, 3, 4


def histories():
    rng = np.random.default_rng(1)
    return [random_history(rng, size) for size in (40, 25, 9, 2)]


def model(name):
    torch.manual_seed(0)
    pooler = LastState(SHAPE.encoder()) if name == "sasrec" else POOLERS[name](8)
    options = {"length": LENGTH, "strands": STRANDS, "strand_length": TIMES, "window": WINDOW}
    made = MoSRanker(SIZES, CATEGORY, pooler, SHAPE, codes=40, **options).eval()
    torch.nn.init.normal_(made.gate.rank)
    torch.nn.init.normal_(made.kind)
    torch.nn.init.normal_(made.embed.item.weight)
    return made


def asked(rows):
    draw = torch.Generator().manual_seed(0)
    samples = all_targets(rows)
    drawn = torch.randint(0, 60, (len(samples.row), 4), generator=draw).int()
    drawn[:, 0] = samples.item
    drawn[::7, 2] = drawn[::7, 0]  # a positive drawn as a negative
    return replace(samples, cand_item=drawn)


def pooled(made, x, row, target, places):
    """(1 + C, d) that the pooler says of the events at ``places`` of a row, alone."""
    events = x[row, places][None]
    return made.pooler(events, target[None], torch.ones(1, len(places), dtype=torch.bool))[0]


def log_odds(made, mixed, target, query):
    read = torch.cat([mixed, target, mixed * target, query.expand_as(target)], dim=-1)
    return (gelu(read @ made.head.inner.weight.T + made.head.inner.bias) @ made.head.out.weight[0]) + (
        made.head.out.bias
    )


@pytest.mark.parametrize("name", ["sasrec", *POOLERS])
@torch.no_grad()
def test_scores_and_losses_equal_loops_over_targets(name):
    users = histories()
    rows = rows_of(users)
    made, samples = model(name), asked(rows)
    x = made.embed(rows)
    target = made.embed.candidates(samples.cand_item, CATEGORY[samples.cand_item.long()])
    query = made.query(samples.query_gap, samples.new_session)
    scores, click, strand, shown = [], [], [], set()
    at = zip(samples.row.tolist(), samples.end.tolist(), samples.place.tolist(), strict=True)
    for n, (row, end, place) in enumerate(at):
        own = oracle.strands(users[row], end, FamilySpec("theme", STRANDS, TIMES))
        sets = [
            range(max(0, end - LENGTH), end),
            range(max(0, end - WINDOW), end),
            *(kept for _, kept in own),
        ]
        shown.add(len(sets))
        found = [
            pooled(made, x, row, target[n], list(places)) + made.kind[min(e, 2)]
            for e, places in enumerate(sets)
        ]
        gate = made.gate
        context = (target[n] + query[n]) @ gate.target.weight.T
        logits = [
            gelu(state @ gate.pooled.weight.T + gate.pooled.bias + context + gate.rank[e])
            @ gate.out.weight[0]
            for e, state in enumerate(found)
        ]
        weight = torch.stack(logits).softmax(0)  # (E, 1 + C)
        mixed = (weight[..., None] * torch.stack(found)).sum(0)
        scores.append(log_odds(made, mixed, target[n], query[n]))

        items = samples.cand_item[n].tolist()
        counts = [c for c, item in enumerate(items) if item >= 2 and (c == 0 or item != items[0])]
        label = torch.tensor([float(c == 0) for c in counts])
        click.append(binary_cross_entropy_with_logits(scores[-1][counts], label, reduction="none"))
        keys = [key for key, _ in own]
        if users[row][place].theme_session in keys:
            alone = log_odds(
                made, found[2 + keys.index(users[row][place].theme_session)], target[n], query[n]
            )
            strand.append(binary_cross_entropy_with_logits(alone[counts], label, reduction="none"))
    assert len(shown) == STRANDS + 1 and 0 < len(strand) < len(click)
    torch.testing.assert_close(
        made.score_candidates(rows, samples), torch.stack(scores), atol=2e-5, rtol=1e-4
    )
    parts = made.training_loss(Batch(rows, samples)).parts
    torch.testing.assert_close(parts["click"], torch.cat(click).mean(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(parts["strand"], torch.cat(strand).mean(), atol=1e-5, rtol=1e-5)
