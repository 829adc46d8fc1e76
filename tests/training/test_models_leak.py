"""No model's score of a target depends on what has its time or a later one, nor on open sessions' ends."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.features.tagged import random_history
from tests.training.rows import rows_of
from training.batch import Batch, Rows, Samples, all_targets
from training.layers.embed import Sizes
from training.layers.encoder import Shape
from training.layers.poolers import POOLERS, LastState
from training.model import Model
from training.models.moe import Balanced, PoolerMixture, TokenMoESASRec
from training.models.mos import MoS, MoSRanker, Stage
from training.models.pooled import PooledModel
from training.models.sasrec import SASRec

SIZES = Sizes(items=90, categories=40, types=6, modes=6)
SHAPE = Shape(dim=8)
CATEGORY = torch.arange(90) % 40


def pooler(name):
    return LastState(SHAPE.encoder()) if name == "sasrec" else POOLERS[name](8)


def mos(stage, **options):
    model = MoS(SIZES, SHAPE, codes=40, window=4, **options)
    model.router.stage = stage
    return model


def ranker(stage, name):
    model = MoSRanker(SIZES, CATEGORY, pooler(name), SHAPE, codes=40, window=4, strand_length=6)
    model.router.stage = stage
    return model


def single(backbone):
    return PooledModel(SIZES, CATEGORY, backbone, SHAPE)


MODELS = {
    "sasrec": lambda: SASRec(SIZES, SHAPE),
    "token moe": lambda: Balanced(TokenMoESASRec(SIZES, SHAPE)),
    **{f"mos {stage.name}": lambda stage=stage: mos(stage) for stage in Stage},
    "mos vector": lambda: mos(Stage.CODES, fusion="vector"),
    **{f"single {name}": lambda name=name: single(pooler(name)) for name in ("sasrec", *POOLERS)},
    **{f"ranker {name}": lambda name=name: ranker(Stage.CODES, name) for name in ("sasrec", *POOLERS)},
    "ranker themes": lambda: ranker(Stage.THEMES, "din"),
    "dense moe": lambda: single(PoolerMixture(lambda: pooler("sasrec"), 8, 3)),
    "top 2 moe": lambda: Balanced(single(PoolerMixture(lambda: pooler("din"), 8, 4, top=2))),
}


def built(name):
    torch.manual_seed(0)
    model = MODELS[name]()
    with torch.no_grad():  # embeddings far apart, so that a leak shows
        for part in model.modules():
            if isinstance(part, torch.nn.Embedding):
                part.weight.normal_()
            if hasattr(part, "codebook"):
                part.codebook.total.normal_()
                part.codebook.count.fill_(1)
    return model.eval()


def data(seed=0):
    rng = np.random.default_rng(seed)
    rows = rows_of([random_history(rng, size) for size in (40, 23, 30, 2)], pad=3)
    draw = torch.Generator().manual_seed(seed)
    samples = all_targets(rows)
    candidates = torch.randint(2, SIZES.items, (len(samples.row), 4), generator=draw).int()
    return rows, replace(samples, cand_item=candidates, cand_category=CATEGORY[candidates.long()].int())


def at(samples: Samples, n: int) -> Samples:
    return samples.map(lambda tensor: tensor[n : n + 1])


def with_another_future(rows: Rows, row: int, end: int, seed: int) -> Rows:
    """Everything from ``end`` on drawn anew, and the final theme of the session open before it."""
    draw = torch.Generator().manual_seed(seed)
    changed = rows.map(torch.clone)
    later = slice(end, None)
    count = rows.item.shape[1] - end
    for name, most in (("item", 90), ("category", 40), ("type", 6), ("mode", 6), ("theme", 40)):
        getattr(changed, name)[row, later] = torch.randint(1, most, (count,), generator=draw).int()
    opened = rows.session[row, end - 1] if end else 1
    steps = torch.randint(0, 2, (count,), generator=draw).cumsum(0)
    changed.session[row, later] = (opened + steps).int()
    changed.session_theme[row, later] = torch.randint(1, 40, (count,), generator=draw).int()
    if end:
        session = rows.session[row] == opened
        changed.session_theme[row, session] = int(torch.randint(2, 40, (1,), generator=draw))
    changed.ts[row, later] += 1_000
    return changed


def scores(model: Model, rows: Rows, samples: Samples) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat(
            [model.score_candidates(rows, samples), model.score_catalogue(rows, samples)[:, 2:]], 1
        )


@pytest.mark.parametrize("name", MODELS)
def test_the_future_changes_no_score(name):
    model, (rows, samples) = built(name), data()
    plain = scores(model, rows, samples)
    assert plain.isfinite().all()
    assert (plain.std(dim=0) > 1e-6).all()  # histories do change scores
    for n in range(3, len(samples.row), 11):
        row, end = int(samples.row[n]), int(samples.end[n])
        changed = with_another_future(rows, row, end, n)
        torch.testing.assert_close(scores(model, changed, at(samples, n))[0], plain[n], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_the_last_visible_event_changes_the_score(name):
    """The same check must fail where it should: ``read_at`` itself is seen."""
    model, (rows, samples) = built(name), data()
    plain = scores(model, rows, samples)
    moved = 0
    for n in range(3, len(samples.row), 11):
        row, last = int(samples.row[n]), int(samples.end[n]) - 1
        changed = rows.map(torch.clone)
        changed.item[row, last] = 2 + (changed.item[row, last] + 40) % 80
        moved += not torch.allclose(scores(model, changed, at(samples, n))[0], plain[n], atol=1e-5)
    assert moved == len(range(3, len(samples.row), 11))


@pytest.mark.parametrize("name", MODELS)
def test_rows_are_scored_alone(name):
    """Neither the other rows of a batch nor its padding matter."""
    model, (rows, samples) = built(name), data()
    plain = scores(model, rows, samples)
    own = samples.row == 1
    alone = rows.map(lambda tensor: tensor[1:2, :23] if tensor.dim() == 2 else tensor[1:2])
    some = replace(
        samples.map(lambda tensor: tensor[own]), row=torch.zeros(int(own.sum()), dtype=torch.int64)
    )
    torch.testing.assert_close(scores(model, alone, some), plain[own], atol=1e-5, rtol=1e-4)


def with_first_events(rows: Rows) -> tuple[Rows, Samples]:
    """The first event of two rows is a target too, which sees nothing."""
    first = rows.map(torch.clone)
    first.loss_mask[:2, 0] = True
    found = all_targets(first)
    assert (found.end == 0).sum() == 2
    item = torch.arange(len(found.row) * 4).view(-1, 4) % 80 + 2
    return first, replace(found, cand_item=item.int(), cand_category=CATEGORY[item].int())


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_learns(name):
    """One step's loss is finite and moves every weight, those of unseen histories included."""
    model, (rows, samples) = built(name), with_first_events(data()[0])
    model.train()
    loss = model.training_loss(Batch(rows, samples))
    loss.total.backward()
    assert loss.total.isfinite()
    grads = {key: weight.grad for key, weight in model.named_parameters()}
    unused = [key for key, grad in grads.items() if grad is None or not grad.any()]
    assert unused == [] or (name == "top 2 moe" and all("experts" in key for key in unused))
    assert all(grad.isfinite().all() for grad in grads.values() if grad is not None)


@pytest.mark.parametrize("name", ["mos", "mos vector", "ranker din"])
def test_the_last_stage_leaves_the_strands_loss_out(name):
    rows, samples = data()
    for stage in Stage:
        model = built(f"{name} CODES" if name == "mos" else name)
        model.router.stage = stage
        loss = model.training_loss(Batch(rows, samples))
        (main,) = (part for key, part in loss.parts.items() if key != "strand")
        assert loss.parts["strand"] > 0.1
        weight = 0.0 if stage == Stage.GATE else 0.5
        torch.testing.assert_close(loss.total.detach(), main + weight * loss.parts["strand"])


@pytest.mark.parametrize("name", MODELS)
def test_models_offer_the_protocol(name):
    assert isinstance(built(name), Model)


@pytest.mark.parametrize("name", ["sasrec", "mos THEMES", "mos CODES", "token moe"])
def test_untrained_items_are_no_targets(name):
    model, (rows, _) = built(name), data()
    place = torch.arange(rows.item.shape[1])
    rows = replace(rows, item=torch.where((place % 3 == 0) & (rows.item > 0), 1, rows.item))
    masked = replace(rows, loss_mask=rows.loss_mask & (rows.item != 1))
    assert masked.loss_mask.sum() < rows.loss_mask.sum()
    torch.testing.assert_close(
        model.training_loss(Batch(rows)).total, model.training_loss(Batch(masked)).total
    )


@pytest.mark.parametrize("name", ["single din", "ranker din"])
@pytest.mark.parametrize("empty", [0, 1])
def test_empty_candidates_and_drawn_positives_do_not_count(name, empty):
    model, (rows, samples) = built(name), data()
    first, rest = samples.cand_item[:, :1], samples.cand_item[:, 1:]
    few = replace(samples, cand_item=torch.cat([first, rest], 1))
    more = replace(samples, cand_item=torch.cat([first, first, torch.full_like(first, empty), rest], 1))
    torch.testing.assert_close(
        model.training_loss(Batch(rows, more)).total, model.training_loss(Batch(rows, few)).total
    )


def test_samples_without_candidates_are_refused():
    rows, samples = data()
    bare = replace(samples, cand_item=None, cand_category=None)
    for name in ("sasrec", "mos THEMES", "single din"):
        with pytest.raises(ValueError, match="no candidates"):
            built(name).score_candidates(rows, bare)
    with pytest.raises(ValueError, match="this batch has none"):
        built("single din").training_loss(Batch(rows))
