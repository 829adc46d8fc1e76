"""Whole evaluations against a brute-force one over the histories, and what a model is shown."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from features.codes import FIRST_INDEX
from tests.training.evaluate.data import Fixed, batches, histories, pseudo, source
from tests.training.gold import hashed
from training.batch import Batch
from training.evaluate import run_candidates
from training.evaluate.candidates import Negatives
from training.evaluate.queries import SCORES_AT_ONCE, distinct, pieces
from training.evaluate.ranks import Catalogue, first_seen
from training.evaluate.run import evaluate, summarise
from training.evaluate.run_candidates import score_candidates
from training.evaluate.sessions import SessionFacts
from training.evaluate.slices import SLICES
from training.models.popularity import Popularity
from training.splits import FOREVER, Split

USERS = {
    user: [
        event._replace(item=99) if at % 9 == 0 and event.ts > 12_000_000 else event
        for at, event in enumerate(events)
    ]
    for user, events in histories(7).items()
}
SOURCE = source(USERS, train_end=12)
ITEMS = SOURCE.vocabulary.items.size
LATER = Split("test", 8, FOREVER)
FACTS = SessionFacts.from_batches(batches(SOURCE))


def brute_force(times: list[int] | None) -> list[tuple[int, int, int, float]]:
    """(user, ts, code, rank) of every target, from the histories and the scores of ``pseudo``."""
    code_of = {
        int(index): code for code, index in enumerate(SOURCE.vocabulary.items.index) if code >= FIRST_INDEX
    }
    found = []
    for user, events in USERS.items():
        for event in events:
            ts = event.ts // 1_000_000
            if ts < LATER.start or event.ts == events[0].ts:
                continue
            key = hashed(user) % 1_000 + ts
            scores = [(key * 31 + code * 17 + key * code) % 7 for code in range(ITEMS)]
            pool = [code for code in range(2, ITEMS) if times is None or times[code] < ts]
            code, rank = code_of.get(event.item, 1), np.inf
            if code in pool:
                above = sum(scores[other] > scores[code] for other in pool)
                rank = above + (1 + sum(scores[other] == scores[code] for other in pool)) / 2
            found.append((hashed(user), ts, code, rank))
    return sorted(found)


@pytest.mark.parametrize("at_once", [1, 100, 1 << 25])
@pytest.mark.parametrize("limited", [False, True])
def test_ranks_are_those_of_a_brute_force_evaluation(limited, at_once):
    seen = first_seen(batches(SOURCE), ITEMS)
    catalogue = Catalogue(ITEMS, seen) if limited else None
    found = evaluate(
        pseudo(ITEMS), batches(SOURCE, LATER), "cpu", FACTS, catalogue=catalogue, scores_at_once=at_once
    )
    columns = found.frame[["user", "ts", "item", "rank"]]
    expected = brute_force(seen.tolist() if limited else None)
    assert sorted(columns.itertuples(index=False, name=None)) == expected
    ranks = np.array([rank for *_, rank in expected])
    every = found.summary["all"]
    assert every["targets"] == len(expected)
    assert every["hr_10"] == pytest.approx((ranks <= 10).mean())
    assert every["mrr_10"] == pytest.approx(np.where(ranks <= 10, 1 / ranks, 0).mean())
    assert every["coverage_ceiling"] == pytest.approx(np.isfinite(ranks).mean())
    assert 0 < every["coverage_ceiling"] < 1
    assert every["hr_500"] == pytest.approx(every["coverage_ceiling"])
    assert every["coverage_500"] == 1.0
    assert "basket_recall_10" in every


def test_events_of_one_basket_are_one_question():
    found = batches(SOURCE, LATER)
    model = pseudo(ITEMS)
    result = evaluate(model, found, "cpu", FACTS)
    assert model.asked - 1 < len(result.frame)  # one more tells the size of the catalogue
    asked = ("row", "end", "new_session")
    questions = {
        (int(batch.rows.row_id[row]), int(batch.rows.ts[row, 0]), end, opens)
        for batch in found
        for row, end, opens in zip(*(getattr(batch.samples, k).tolist() for k in asked), strict=True)
    }
    assert model.asked - 1 == len(questions)
    for batch in found:
        asked = distinct(batch.samples)
        for name in ("row", "end", "query_ts", "query_gap", "new_session"):
            assert torch.equal(getattr(asked.samples, name)[asked.query], getattr(batch.samples, name))


def test_pieces_hold_every_sample_once_with_its_own_row():
    batch = batches(SOURCE, LATER)[0]
    users, ends = [], []
    for rows, samples in pieces(batch.rows, batch.samples, 10, 70):
        assert 1 <= len(samples.row) <= 7
        assert len(rows.length) == len(samples.row.unique())
        users += rows.user_id[samples.row].tolist()
        ends += samples.end.tolist()
    assert users == batch.rows.user_id[batch.samples.row].tolist()
    assert ends == batch.samples.end.tolist()


def test_a_model_does_not_see_the_answer():
    def score(rows, samples):
        assert not samples.item.any() and not samples.category.any() and (samples.place == -1).all()
        return torch.zeros(len(samples.row), ITEMS)

    blind = Fixed(ITEMS, score)
    found = evaluate(blind, batches(SOURCE, LATER), "cpu", FACTS)
    ranked = found.frame.loc[found.frame["in_catalogue"], "rank"]
    assert (ranked == (ITEMS - FIRST_INDEX + 1) / 2).all()
    counts = torch.from_numpy(SOURCE.vocabulary.items.count)
    negatives = Negatives("uniform", counts, torch.zeros(ITEMS), 20)
    drawn = score_candidates(blind, batches(SOURCE, LATER), "cpu", negatives, FACTS)
    assert (drawn.frame["auc"] == 0.5).all()
    assert drawn.summary()["all"]["auc_uniform"] == 0.5


def test_candidates_are_scored_in_pieces_that_a_pooler_can_hold(monkeypatch):
    """(1 + C) · L · CHANNELS numbers a sample, all samples of a call together."""
    held: list[int] = []

    def score(rows, samples):
        held.append(len(samples.row) * 21 * rows.item.shape[1] * run_candidates.CHANNELS)
        return torch.zeros(len(samples.row), ITEMS)

    negatives = Negatives("uniform", torch.from_numpy(SOURCE.vocabulary.items.count), torch.zeros(ITEMS), 20)
    asked = batches(SOURCE, LATER)
    monkeypatch.setattr(run_candidates, "CHANNELS", SCORES_AT_ONCE // (21 * asked[0].rows.item.shape[1] * 3))
    score_candidates(Fixed(ITEMS, score), asked, "cpu", negatives, FACTS)
    assert len(held) > len(asked) and SCORES_AT_ONCE // 4 < max(held) <= SCORES_AT_ONCE


def test_slices_are_summed_up_apart():
    found = evaluate(pseudo(ITEMS), batches(SOURCE, LATER), "cpu", FACTS)
    for name, values in found.summary.items():
        part = found.frame[SLICES[name](found.frame)]
        assert values["targets"] == len(part) > 0
        assert values["hr_10"] == pytest.approx((part["rank"] <= 10).mean())
        assert values["users"] == part["user"].nunique()
    assert {"first_after_return", "hopping", "history_0_9"} <= set(found.summary)
    saved = pd.concat([found.frame]).reset_index(drop=True)
    assert summarise(saved)["hopping"] == found.summary["hopping"]


def test_samples_of_the_loader_are_taken_where_there_are_any():
    batch = batches(SOURCE, LATER)[0]
    few = Batch(batch.rows, batch.samples.map(lambda tensor: tensor[:3]))
    none = Batch(batch.rows, batch.samples.map(lambda tensor: tensor[:0]))
    assert len(evaluate(pseudo(ITEMS), [few, none], "cpu", FACTS).frame) == 3
    whole = evaluate(pseudo(ITEMS), [Batch(batch.rows)], "cpu")
    assert len(whole.frame) == int(batch.rows.loss_mask.sum())


def test_no_target_is_an_error_and_so_is_a_diverged_model():
    with pytest.raises(ValueError, match="no target"):
        evaluate(pseudo(ITEMS), [], "cpu", FACTS)
    diverged = Fixed(ITEMS, lambda rows, samples: torch.full((len(samples.row), ITEMS), torch.nan))
    with pytest.raises(ValueError, match="not a number"):
        evaluate(diverged, batches(SOURCE, LATER), "cpu", FACTS)


def test_a_module_is_asked_in_evaluation_mode_and_then_trains_on():
    class Watched(Popularity):
        def score_catalogue(self, rows, samples):
            assert not self.training and torch.is_inference_mode_enabled()
            return super().score_catalogue(rows, samples)

    model: nn.Module = Watched(ITEMS).train()
    done: list[int] = []
    evaluate(model, batches(SOURCE, LATER), "cpu", FACTS, progress=lambda n, _: done.append(n))
    assert model.training
    assert done == sorted(done) and done[-1] == sum(
        len(batch.samples.row) for batch in batches(SOURCE, LATER)
    )


def test_candidates_are_scored_per_target_and_over_all():
    counts = torch.from_numpy(SOURCE.vocabulary.items.count)
    category = torch.arange(ITEMS) % 5
    category[ITEMS - 1] = 9
    negatives = Negatives("category", counts, category, 6)
    found = score_candidates(pseudo(ITEMS), batches(SOURCE, LATER), "cpu", negatives, FACTS)
    lost = sum(int((batch.samples.item < FIRST_INDEX).sum()) for batch in batches(SOURCE, LATER))
    assert found.left_out == lost > 0
    assert len(found.frame) + lost == sum(len(batch.samples.row) for batch in batches(SOURCE, LATER))
    alone = found.frame["item"] == ITEMS - 1
    assert alone.any() and found.frame["auc"].isna().equals(alone)
    positive, rivals = found.scores[:, :1], found.scores[:, 1:]
    wins = ((positive > rivals) + 0.5 * (positive == rivals)).mean(1)
    np.testing.assert_allclose(found.frame["auc"][~alone], wins[~alone])
    values = found.summary(found.calibration())["all"]
    assert {"auc_category", "gauc_category", "log_loss_category", "normalised_entropy_category"} <= set(
        values
    )
    assert values["normalised_entropy_category"] == pytest.approx(1.0, abs=0.02)  # scores that say nothing
    with pytest.raises(ValueError, match="no target"):
        batch = batches(SOURCE, LATER)[0]
        unknown = replace(batch.samples, item=torch.ones_like(batch.samples.item))
        score_candidates(pseudo(ITEMS), [Batch(batch.rows, unknown)], "cpu", negatives, FACTS)
