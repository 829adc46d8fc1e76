"""Drawn negatives: their distribution, what they exclude, and that a target always gets the same ones."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from tests.training.evaluate.data import batches, histories, source
from training.batch import Rows, Samples
from training.evaluate.candidates import KINDS, Negatives

COUNTS = torch.tensor([9, 9, 1, 2, 3, 4, 10, 0, 5])
CATEGORY = torch.tensor([0, 1, 2, 2, 2, 3, 3, 3, 4])


def asked(items: list[int], times: int = 1) -> tuple[Rows, Samples]:
    """A row per item and repetition, each with one sample."""
    batch = batches(source(histories(1)))[0]
    count = len(items) * times
    rows = batch.rows.map(lambda tensor: tensor[:1].expand(count, *tensor.shape[1:]))
    assert batch.samples is not None
    samples = batch.samples.map(lambda tensor: tensor[:1].expand(count).clone())
    samples.row.copy_(torch.arange(count))
    samples.query_ts.copy_(torch.arange(count))
    samples.item.copy_(torch.tensor(items * times))
    return rows, samples


def weights(kind: str, target: int) -> np.ndarray:
    weight = COUNTS.numpy().astype(float) if kind == "popularity" else np.ones(len(COUNTS))
    if kind == "category":
        weight = weight * (CATEGORY[target] == CATEGORY).numpy()
    weight[:2] = 0
    weight[target] = 0
    return weight


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", [2, 4, 6, 7])
def test_draws_follow_the_stated_weights_without_the_target(kind, target):
    found = Negatives(kind, COUNTS, CATEGORY, 50).candidates(*asked([target], 400))
    assert found.cand_item is not None and found.cand_category is not None
    assert (found.cand_item[:, 0] == target).all()
    drawn = torch.bincount(found.cand_item[:, 1:].flatten(), minlength=len(COUNTS)).numpy()
    expected = weights(kind, target)
    expected = expected / expected.sum() * drawn.sum()
    assert (drawn[expected == 0] == 0).all()
    possible = expected > 0
    assert chisquare(drawn[possible], expected[possible]).pvalue > 1e-4
    assert torch.equal(found.cand_category, CATEGORY[found.cand_item.long()].int())


def test_a_target_alone_in_its_category_has_no_negatives():
    found = Negatives("category", COUNTS, CATEGORY, 5).candidates(*asked([8, 2]))
    assert found.cand_item is not None
    assert found.cand_item[0].tolist() == [8, 0, 0, 0, 0, 0]
    assert (found.cand_item[1] >= 2).all()


def test_draws_do_not_depend_on_the_batches_but_on_the_seed():
    found = source(histories(5))
    items = found.vocabulary.items
    negatives = Negatives("popularity", torch.from_numpy(items.count), torch.zeros(items.size))

    def draws(tokens: int, drawn: Negatives) -> dict[tuple[int, ...], list[int]]:
        table = {}
        for batch in batches(found, tokens=tokens):
            assert batch.samples is not None
            samples = drawn.candidates(batch.rows, batch.samples)
            assert samples.cand_item is not None
            user = batch.rows.user_id[samples.row]
            for n, cand in enumerate(samples.cand_item.tolist()):
                table[int(user[n]), int(samples.query_ts[n]), int(samples.item[n])] = cand
        return table

    small, large = draws(256, negatives), draws(8192, negatives)
    assert small == large and len(small) > 50
    other = draws(
        256, Negatives("popularity", torch.from_numpy(items.count), torch.zeros(items.size), seed=1)
    )
    assert other != small
    assert len({tuple(cand[1:]) for cand in small.values()}) == len(small)


def test_wrong_questions_are_errors():
    with pytest.raises(ValueError, match="'hard' are unknown; known: uniform, popularity, category"):
        Negatives("hard", COUNTS, CATEGORY)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="outside the trained catalogue"):
        Negatives("uniform", COUNTS, CATEGORY).candidates(*asked([1]))
