"""A model asked in shared codes answers as in its own; what it does not know is a miss."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from features.codes import FIRST_INDEX
from tests.training.gold import gold_rows, publish, random_users, write_gold
from tests.training.registry.conftest import SASREC, Fit
from training.batch import Batch, all_targets
from training.codes import Codes
from training.errors import DataError
from training.evaluate.candidates import Negatives
from training.evaluate.run import evaluate
from training.evaluate.run_candidates import score_candidates
from training.evaluate.sessions import SessionFacts
from training.fit.data import session_facts
from training.fit.fitted import Fitted, load_fitted
from training.model import as_model
from training.published import latest
from training.registry.shared import Translated, require_same_names, shared_vocabulary
from training.source import RowSource
from training.splits import Split
from training.table import SequenceTable, open_published
from training.vocabulary import TrainVocabulary
from training.windows import window_rule

SPLIT = Split("test", 90, 200)
MOS = "name = 'mos'\ndim = 8\nlayers = 1\nheads = 1"
DIN = "name = 'din'\ndim = 8\nheads = 1"


@pytest.fixture(scope="module")
def table(warehouse: Path) -> SequenceTable:
    return open_published(str(warehouse))


@pytest.fixture(scope="module")
def facts(table: SequenceTable) -> SessionFacts:
    return session_facts(table)


def _batches(table: SequenceTable, vocabulary: TrainVocabulary) -> list[Batch]:
    return list(RowSource.of_table(table, vocabulary, window_rule(32)).batches(SPLIT, 512))


def _pair(fit: Fit, model: str) -> tuple[Fitted, Fitted, TrainVocabulary]:
    """Two models of which one knows fewer items, and those by other codes."""
    first = load_fitted(fit(model))
    second = load_fitted(fit(model, "data.min_count=3", "data.train_end=1970-01-01T00:01:10Z"))
    return first, second, shared_vocabulary([first.vocabulary, second.vocabulary])


@pytest.mark.parametrize("model", [SASREC, MOS])
def test_ranks_are_those_of_the_model_in_its_own_codes(
    fit: Fit, table: SequenceTable, facts: SessionFacts, model: str
) -> None:
    *pair, shared = _pair(fit, model)
    assert len({one.vocabulary.items.size for one in pair}) == 2
    batches = _batches(table, shared)
    for one in pair:
        own_batches = _batches(table, one.vocabulary)
        own = evaluate(as_model(one.model), own_batches, "cpu", facts)
        asked = Translated(as_model(one.model), one.vocabulary, shared)
        found = evaluate(asked, batches, "cpu", facts, catalogue=asked.catalogue())
        assert not own.frame["in_catalogue"].all() or one is pair[0]
        for column in ("user", "row", "place", "ts", "in_catalogue", "rank"):
            np.testing.assert_array_equal(own.frame[column], found.frame[column], err_msg=column)
        for figure in ("hr_10", "coverage_ceiling", "ndcg_50"):
            assert own.summary["all"][figure] == found.summary["all"][figure]


def test_shared_codes_name_what_any_model_knows(fit: Fit) -> None:
    whole = load_fitted(fit()).vocabulary
    first, second = _without(whole, 3), _without(whole, 5)
    shared = shared_vocabulary([first, second])
    known = [set(one.items.index[FIRST_INDEX:].tolist()) for one in (first, second)]
    assert known[0] - known[1] and known[1] - known[0]
    assert set(shared.items.index[FIRST_INDEX:].tolist()) == known[0] | known[1]
    for code, index in enumerate(shared.items.index.tolist()):
        own = int(np.flatnonzero(whole.items.index == index)[0])
        category = shared.categories.index[shared.item_category[code]]
        if code >= FIRST_INDEX:
            assert shared.items.count[code] == whole.items.count[own]
            assert category == whole.categories.index[whole.item_category[own]]
    assert set(shared.themes) == set(whole.themes)


def _without(vocabulary: TrainVocabulary, nth: int) -> TrainVocabulary:
    """The vocabulary less every ``nth`` item, codes moved up."""
    kept = np.array([code for code in range(vocabulary.items.size) if code < FIRST_INDEX or code % nth])
    items = Codes(vocabulary.items.index[kept], vocabulary.items.count[kept])
    return replace(
        vocabulary,
        items=items,
        item_category=vocabulary.item_category[kept],
        themes=vocabulary.themes[:: nth - 2],
    )


def test_candidates_that_a_model_does_not_know_score_below_all(
    fit: Fit, table: SequenceTable, facts: SessionFacts
) -> None:
    *pair, shared = _pair(fit, DIN)
    counts, category = torch.tensor(shared.items.count), torch.tensor(shared.item_category)
    negatives = Negatives("popularity", counts, category, 12)
    batches = _batches(table, shared)
    frames, lost = [], []
    for one in pair:
        own = {
            int(index): code for code, index in enumerate(one.vocabulary.items.index) if code >= FIRST_INDEX
        }
        asked = Translated(as_model(one.model), one.vocabulary, shared)
        found = score_candidates(asked, batches, "cpu", negatives, facts)
        frames.append(found.frame)
        at = 0
        for shared_batch, own_batch in zip(batches, _batches(table, one.vocabulary), strict=True):
            samples = all_targets(shared_batch.rows)
            drawn = negatives.candidates(
                shared_batch.rows, samples.map(lambda tensor, keep=samples.item >= FIRST_INDEX: tensor[keep])
            )
            index = shared.items.index[drawn.cand_item.numpy()]
            codes = torch.tensor(
                [[own.get(int(item), 1) for item in row] for row in index], dtype=torch.int32
            )
            main = torch.from_numpy(one.vocabulary.item_category)[codes.long()]
            with torch.inference_mode():
                scores = one.model.score_candidates(
                    own_batch.rows, replace(drawn, cand_item=codes, cand_category=main)
                )
            expected = np.where(codes.numpy() < FIRST_INDEX, -np.inf, scores.double().numpy())
            np.testing.assert_allclose(found.scores[at : at + len(codes)], expected, rtol=1e-6)
            at += len(codes)
        assert at == len(found.scores)
        lost.append(int(np.isinf(found.scores[:, 0]).sum()))
    assert lost[0] == 0 and lost[1] > 0  # targets that the second does not know
    assert (frames[0][["user", "ts", "item"]] == frames[1][["user", "ts", "item"]]).all(axis=None)


def test_another_warehouse_is_told_by_its_names(fit: Fit, tmp_path: Path, warehouse: Path) -> None:
    vocabulary = load_fitted(fit()).vocabulary
    require_same_names(vocabulary, latest(str(warehouse)), "v1")
    anew = replace(
        vocabulary, ids={**vocabulary.ids, "items": (None, None, *reversed(vocabulary.ids["items"][2:]))}
    )
    with pytest.raises(
        DataError, match="v1 was fitted on another warehouse: there silver/items called index"
    ):
        require_same_names(anew, latest(str(warehouse)), "v1")


def test_later_items_of_the_same_warehouse_are_no_other_names(fit: Fit, tmp_path: Path) -> None:
    root = tmp_path / "warehouse"
    publish(root, write_gold(root / "gold/user_sequences", gold_rows(random_users(5, 6))))
    require_same_names(load_fitted(fit()).vocabulary, latest(str(root)), "v1")
