"""Negatives: what is drawn, how often, and that logq says so."""

import math

import pytest
import torch

from tests.oracles.strands import Event
from tests.training.rows import rows_of
from training.batch import Samples, all_targets
from training.negatives import KINDS, Candidates, Kind, SharedNegatives
from training.strata import weights

COUNT = torch.tensor([0, 90, 50, 20, 0, 7, 3, 1, 1])  # codes 0 and 1 are none; item 4 was never seen
CATEGORY = torch.tensor([1, 1, 2, 2, 2, 3, 3, 4, 1])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def samples(items: list[int]) -> Samples:
    events = [Event(n * 1_000_000, item, 2, 1, 1, 2, 2) for n, item in enumerate([2, *items])]
    return all_targets(rows_of([events]))


def test_shared_negatives_are_drawn_by_power_of_the_count() -> None:
    found = SharedNegatives(COUNT, 400_000).draw(rows_of([[Event(0, 2, 2, 1, 1, 2, 2)]]), generator())
    often = torch.bincount(found.item.long(), minlength=9).double()
    expected = torch.where(COUNT > 0, COUNT.double() ** 0.75, 0)
    expected[:2] = 0
    expected *= 400_000 / expected.sum()
    assert (often[expected == 0] == 0).all()
    drawn = expected > 0
    assert ((often - expected).abs()[drawn] < 5 * expected[drawn].sqrt()).all()
    log_expected = torch.where(drawn, expected, 1).log().float()
    assert torch.allclose(found.logq, log_expected[found.item.long()], atol=2e-3)  # weights lie on a grid


def test_logq_makes_the_sum_over_negatives_unbiased() -> None:
    """Σ exp(s − logq) over the draws estimates Σ exp(s) over the items: what importance sampling needs."""
    score = torch.randn(9, dtype=torch.float64, generator=generator(3))
    found = SharedNegatives(COUNT, 200_000).draw(rows_of([[Event(0, 2, 2, 1, 1, 2, 2)]]), generator(1))
    estimate = (score[found.item.long()] - found.logq).exp().sum()
    exact = score[[2, 3, 5, 6, 7, 8]].exp().sum()
    assert math.isclose(float(estimate), float(exact), rel_tol=0.02)


def test_the_positives_have_the_logq_of_their_items() -> None:
    rows = rows_of([[Event(n, item, 2, 1, 1, 2, 2) for n, item in enumerate([2, 3, 4, 8])]], pad=2)
    found = SharedNegatives(COUNT, 5000).draw(rows, generator())
    by_item = dict(zip(found.item.tolist(), found.logq.tolist(), strict=True))
    assert found.positive_logq.shape == rows.item.shape
    assert found.positive_logq[0].tolist() == [by_item[2], by_item[3], 0, by_item[8], 0, 0]


def test_a_seed_gives_the_same_draws() -> None:
    shared = SharedNegatives(COUNT, 50)
    rows = rows_of([[Event(0, 2, 2, 1, 1, 2, 2)]])
    one, same, other = (shared.draw(rows, generator(seed)).item for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(ValueError, match="one item that was seen"):
        SharedNegatives(torch.tensor([0, 9, 0]), 5)


@pytest.mark.parametrize("kind", KINDS)
def test_candidates_are_drawn_by_their_kind_and_never_the_target(kind: Kind) -> None:
    asked = samples([2, 3, 5, 7])
    drawn = 60_000
    found = Candidates(kind, COUNT, CATEGORY, drawn).draw(asked, generator())
    assert found.cand_item is not None and found.cand_logq is not None and found.cand_category is not None
    assert torch.equal(found.cand_item[:, 0], asked.item)
    assert torch.equal(found.cand_category, CATEGORY.int()[found.cand_item.long()])
    for at, item in enumerate(asked.item.tolist()):
        others = [n for n in (2, 3, 5, 6, 7, 8) if kind != "category" or CATEGORY[n] == CATEGORY[item]]
        weight = {n: 1.0 if kind == "uniform" else float(COUNT[n]) ** 0.75 for n in others}
        whole = sum(weight.values())
        del weight[item]
        often = torch.bincount(found.cand_item[at, 1:].long(), minlength=9).double()
        if not weight:
            assert (found.cand_item[at, 1:] == 0).all()
            continue
        rest = sum(weight.values())
        for n in range(9):
            expected = drawn * weight.get(n, 0.0) / rest
            assert abs(float(often[n]) - expected) <= 5 * math.sqrt(expected) + 1e-9
        logq = dict(zip(found.cand_item[at].tolist(), found.cand_logq[at].tolist(), strict=True))
        own = 1.0 if kind == "uniform" else float(COUNT[item]) ** 0.75
        for n, mass in (weight | {item: own}).items():
            assert math.isclose(logq[n], math.log(drawn * mass / whole), abs_tol=2e-3)


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="uniform, popularity, category"):
        Candidates("random", COUNT, CATEGORY, 3)  # type: ignore[arg-type]


def test_weights_are_exact_in_a_large_catalogue() -> None:
    """The sum of a million weights fits int64 many times over."""
    weight = weights(torch.full((1_000_000,), 10**9))
    assert int(weight.sum()) == int(weight[2]) * (1_000_000 - 2) < 2**62
