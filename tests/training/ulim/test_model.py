"""The model as a whole: its loss, its catalogue scores against a loop, and that it cannot see ahead."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.ulim.cases import (
    CATEGORIES,
    ITEM_CATEGORY,
    ITEMS,
    SHAPE,
    SIZES,
    grouped,
    random_histories,
    random_rows,
    rows_of,
    small_model,
    take,
)
from training.batch import Batch, all_targets
from training.flops import forward_flops, one_target
from training.layers.embed import Sizes
from training.layers.encoder import Shape
from training.model import Model, Searchable
from training.models.match import body_parameters
from training.models.ulim.control import GlobalRetrieval, matched_control
from training.models.ulim.model import Ulim


def control(seed: int = 0) -> GlobalRetrieval:
    torch.manual_seed(seed)
    return GlobalRetrieval(SIZES, SHAPE).eval()


MODELS = [small_model, control]


def test_training_and_scoring_share_their_vectors() -> None:
    """The long-term loss from the groups' places equals one from places found on the device."""
    model, batch = small_model(), grouped(random_rows(1))
    samples, groups = batch.samples, batch.groups
    assert samples is not None
    assert groups is not None
    found = model.interests(batch.rows, samples, samples.category[:, None])
    table = model.item_vectors()
    size = len(samples.row) // len(groups.category)
    losses = []
    for n in range(len(samples.row)):
        if not (groups.mask[n] and found.seen[n, 0] and samples.item[n] >= 2):
            continue
        positive = found.long[n, 0] @ table[samples.item[n]] - groups.positive_logq[n]
        logits = [positive]
        group = n // size
        for item, logq in zip(groups.negative[group], groups.logq[group], strict=True):
            if item >= 2 and item != samples.item[n]:
                logits.append(found.long[n, 0] @ table[item] - logq)
        losses.append(torch.stack(logits).logsumexp(0) - positive)
    parts = model.training_loss(batch).parts
    assert torch.allclose(parts["long"], torch.stack(losses).mean(), atol=1e-4)


def test_loss_weighs_its_parts() -> None:
    batch = grouped(random_rows(1))
    model = small_model()
    model.alpha, model.beta = 0.3, 0.7
    loss = model.training_loss(batch)
    expected = 0.3 * loss.parts["long"] + 0.7 * loss.parts["short"] + loss.parts["category"]
    assert torch.allclose(loss.total, expected)
    assert set(loss.parts) == {"long", "short", "category"}


def test_pgin_learns_the_category_that_retrieval_searches() -> None:
    """An event's own category may be another than its item's main one; the item's index is that one's."""
    model, batch = small_model(), grouped(random_rows(1))
    assert batch.samples is not None
    assert batch.groups is not None
    expected = model.training_loss(batch).parts["category"]
    other = replace(batch.samples, category=torch.full_like(batch.samples.category, 2))
    assert torch.equal(model.training_loss(replace(batch, samples=other)).parts["category"], expected)
    unknown = replace(other, item=torch.ones_like(other.item))
    assert torch.equal(model.catalogue.of_targets(unknown), other.category)  # then the event's counts


def test_pgin_takes_the_pointers_of_the_batch() -> None:
    """They are those that it finds itself, and it reads them."""
    model, batch = small_model(), grouped(random_rows(1))
    samples, groups = batch.samples, batch.groups
    assert samples is not None
    assert groups is not None
    found = model.pgin.loss(batch.rows, samples, groups.pointer_category)
    assert torch.equal(found, model.pgin.loss(batch.rows, samples))
    swapped = groups.pointer_category[:, :2].flip(1)
    assert not torch.equal(found, model.pgin.loss(batch.rows, samples, swapped))


def test_filled_up_samples_do_not_count() -> None:
    """A group filled up by repeating costs the same whatever was repeated."""
    model, batch = small_model(), grouped(random_rows(1))
    assert batch.samples is not None
    assert batch.groups is not None
    assert not batch.groups.mask.all()
    index = torch.where(batch.groups.mask, torch.arange(len(batch.groups.mask)), 0)
    other = replace(
        batch,
        samples=take(batch.samples, index),
        groups=replace(
            batch.groups, long_pos=batch.groups.long_pos[index], short_pos=batch.groups.short_pos[index]
        ),
    )
    assert torch.allclose(model.training_loss(batch).total, model.training_loss(other).total, atol=1e-6)


def test_samples_without_category_history_train_the_short_vector_only() -> None:
    rows = rows_of([[(10, 2, 1), (20, 3, 1)], [(10, 4, 1), (20, 5, 1)]])
    model = small_model().train()
    model.alpha, model.beta = 1.0, 0.0
    loss = model.training_loss(grouped(rows))
    assert float(loss.parts["long"]) == 0
    loss.total.backward()
    assert all(p.grad is None or not p.grad.any() for p in model.long.parameters())


def test_groups_are_required() -> None:
    with pytest.raises(ValueError, match="groups"):
        small_model().training_loss(Batch(random_rows(0)))


@torch.no_grad()
def test_catalogue_scores_equal_a_loop() -> None:
    rows = random_rows(2, users=3, longest=12)
    samples = all_targets(rows)
    model = small_model()
    scores = model.score_catalogue(rows, samples)
    category, log_prob = model.categories(rows, samples, 3)
    found = model.interests(rows, samples, category)
    table = model.item_vectors()
    for n in range(len(samples.row)):
        expected = 0.5 * (table[2:] @ found.short[n]).softmax(0)
        for k in range(3):
            items = torch.nonzero(category[n, k] == ITEM_CATEGORY)[:, 0]
            within = (table[items] @ found.long[n, k]).softmax(0)
            expected[items - 2] += 0.5 * log_prob[n, k].exp() * within
        assert torch.allclose(scores[n, 2:], expected.log(), atol=1e-4)
    assert (scores[:, :2] == -torch.inf).all()


@torch.no_grad()
def test_scores_are_the_shares_of_the_retrieval_vectors() -> None:
    """With fewer categories searched than there are, with one more than hold items, and with all codes."""
    rows = random_rows(2, users=3, longest=12)
    samples = all_targets(rows)
    known = torch.where(torch.arange(ITEMS) % 9 == 0, 1, ITEM_CATEGORY)  # some items have no category
    own = torch.where(known == CATEGORIES - 1, 2, known)  # and one category no items
    torch.manual_seed(0)
    model = Ulim(SIZES, own, SHAPE, category_dim=8).eval()
    for searched, vectors in ((2, 3), (CATEGORIES - 2, 1 + CATEGORIES - 2), (25, 1 + CATEGORIES)):
        model.searched = searched
        found = model.retrieval_vectors(rows, samples)
        assert isinstance(model, Searchable) and found.category is not None
        assert found.vectors.shape == (len(samples.row), vectors, SHAPE.dim)
        assert (found.category[:, 0] == 0).all() and (found.weight[:, 0] == 0.5).all()
        empty = (found.category[:, 1:] == CATEGORIES - 1) | (found.category[:, 1:] < 2)
        assert torch.equal(found.weight[:, 1:] == 0, empty)
        logits = (found.vectors @ model.item_vectors().T).double().numpy()
        shares = np.zeros((len(samples.row), ITEMS))
        for n, e in np.ndindex(*found.weight.shape):
            category = int(found.category[n, e])
            items = np.arange(2, ITEMS) if category == 0 else np.flatnonzero(own.numpy() == category)
            within = np.exp(logits[n, e, items])
            shares[n, items] += float(found.weight[n, e]) * within / within.sum()
        scores = model.score_catalogue(rows, samples).numpy()
        np.testing.assert_allclose(scores[:, 2:], np.log(shares[:, 2:]), rtol=1e-5, atol=1e-5)


def test_scores_are_a_distribution_when_every_category_is_searched() -> None:
    torch.manual_seed(0)
    model = Ulim(SIZES, ITEM_CATEGORY, SHAPE, category_dim=8, searched=CATEGORIES).eval()
    rows = random_rows(5)
    total = model.score_catalogue(rows, all_targets(rows)).logsumexp(1)
    assert torch.allclose(total, torch.zeros(len(total)), atol=1e-4)


@pytest.mark.parametrize("build", MODELS)
@torch.no_grad()
def test_is_a_model_whose_candidates_score_like_the_catalogue(build) -> None:  # type: ignore[no-untyped-def]
    model = build()
    assert isinstance(model, Model)
    rows = random_rows(2)
    samples = all_targets(rows)
    draw = torch.Generator().manual_seed(0)
    asked = torch.randint(2, ITEMS, (len(samples.row), 5), generator=draw, dtype=torch.int32)
    samples = replace(samples, cand_item=asked, cand_category=ITEM_CATEGORY[asked.long()])
    catalogue = model.score_catalogue(rows, samples)
    assert catalogue.shape == (len(samples.row), ITEMS)
    assert torch.allclose(model.score_candidates(rows, samples), catalogue.gather(1, asked.long()), atol=1e-5)
    with pytest.raises(ValueError, match="cand_item"):
        model.score_candidates(rows, all_targets(rows))


@pytest.mark.parametrize("build", MODELS)
@torch.no_grad()
def test_reads_nothing_at_or_after_the_target(build) -> None:  # type: ignore[no-untyped-def]
    """Everything at or after a target's time changes, final themes too: its scores do not."""
    model = build()
    rows = random_rows(7)
    samples = all_targets(rows)
    draw = torch.Generator().manual_seed(1)
    moved = 0.0
    for n in range(len(samples.row)):
        later = torch.arange(rows.item.shape[1]) >= samples.end[n]
        noise = torch.randint(2, ITEMS, rows.item.shape, generator=draw, dtype=torch.int32)
        changed = replace(
            rows,
            item=torch.where(later, noise, rows.item),
            category=torch.where(later, ITEM_CATEGORY[noise.long()].int(), rows.category),
            type=torch.where(later, 1, rows.type),
            mode=torch.where(later, 1, rows.mode),
            session=torch.where(later, 99, rows.session),
            theme=torch.where(later, 0, rows.theme),
            ts=torch.where(later, rows.ts + 77, rows.ts),
            session_theme=torch.zeros_like(rows.session_theme),
        )
        one = take(samples, torch.tensor([n]))
        before, after = (model.score_catalogue(each, one)[:, 2:] for each in (rows, changed))
        assert torch.allclose(before, after, atol=1e-6, rtol=0)
        if n + 1 < len(samples.row) and samples.row[n + 1] == samples.row[n]:
            one = take(samples, torch.tensor([n + 1]))
            before, after = (model.score_catalogue(each, one)[:, 2:] for each in (rows, changed))
            moved = max(moved, float((before - after).abs().max()))
    assert moved > 1e-3  # the next target does see what changed


@torch.no_grad()
def test_long_vector_follows_its_category_alone() -> None:
    """With the short-term vector held, another item in another category moves nothing."""
    model = small_model()
    history = random_histories(3, users=1, longest=60)
    rows = rows_of(history)
    samples = all_targets(rows)
    short = model.interests(rows, samples, samples.category[:, None]).short
    model._short = lambda *_: short  # type: ignore[assignment, method-assign, return-value]
    for name in range(2, CATEGORIES):
        category = torch.full((len(short), 1), name)
        before = model.interests(rows, samples, category)
        own = rows.category == name
        item = torch.where(own, rows.item, 2 + (rows.item + 5) % (ITEMS - 2))
        elsewhere = replace(rows, item=item, type=torch.where(own, rows.type, 3))
        assert torch.equal(model.interests(elsewhere, samples, category).long, before.long)
        inside = replace(rows, item=torch.where(own, 2 + (rows.item + 5) % (ITEMS - 2), rows.item))
        after = model.interests(inside, samples, category)
        moved = (after.long != before.long).any(2)
        assert torch.equal(moved, before.seen)
        assert torch.equal(before.long[~before.seen], short[~before.seen[:, 0]])


@pytest.mark.parametrize("build", MODELS)
def test_every_parameter_learns(build) -> None:  # type: ignore[no-untyped-def]
    model = build().train()
    model.training_loss(grouped(random_rows(1))).total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert float(parameter.grad.abs().max()) > 1e-6, name


@pytest.mark.parametrize("build", MODELS)
def test_runs_under_bfloat16(build) -> None:  # type: ignore[no-untyped-def]
    """Without oneDNN, which dies where a virtual machine announces AMX and has none."""
    model, batch = build(), grouped(random_rows(1))
    exact = model.training_loss(batch).total.detach()
    with torch.backends.mkldnn.flags(enabled=False), torch.autocast("cpu", torch.bfloat16):
        rough = model.training_loss(batch).total.detach()
        scores = model.score_catalogue(batch.rows, all_targets(batch.rows))
    assert rough.dtype == torch.float32
    assert scores.dtype == torch.float32
    assert float(rough) == pytest.approx(float(exact), rel=0.05)


def test_control_has_as_many_parameters_and_flops() -> None:
    sizes = Sizes(items=2_002, categories=302, types=6, modes=6)
    model = Ulim(sizes, torch.arange(sizes.items).remainder(300) + 2)
    state = torch.random.get_rng_state()
    with torch.device("meta"):
        wanted = body_parameters(Ulim(sizes, torch.arange(sizes.items, device="cpu").remainder(300) + 2))
    assert torch.equal(torch.random.get_rng_state(), state), "counting draws nothing"
    assert wanted == body_parameters(model)
    found = matched_control(wanted, sizes, Shape())
    assert abs(body_parameters(found) / wanted - 1) < 0.01
    assert found.short.encoder.norm.weight.shape == (64,)
    asked = one_target(sizes, 256)
    assert forward_flops(found, *asked) == pytest.approx(forward_flops(model, *asked), rel=0.1)
    with pytest.raises(ValueError, match="no width"):
        matched_control(body_parameters(control()), sizes, Shape())


def test_item_categories_must_exist() -> None:
    with pytest.raises(ValueError, match="categories"):
        Ulim(SIZES, torch.full((ITEMS,), CATEGORIES), SHAPE)
