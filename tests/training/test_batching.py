"""Token batches: every row once, of one length, as large as the budget allows, in a seeded order."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.gold import SPEC, gold_rows, random_users
from training.batch import Batch, Rows
from training.batching import Asked, Counts, TokenBatches, some_targets
from training.gold import arrow_blocks
from training.negatives import Candidates, SharedNegatives
from training.rows import expand, take
from training.splits import EVERYTHING, FOREVER
from training.vocabulary import TrainVocabulary, learn_vocabulary
from training.windows import WindowRule


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stream(users: int = 40, seed: int = 1) -> tuple[list[dict[int, Rows]], TrainVocabulary]:
    """Rows as a loader gives them: from blocks, by padded length."""
    blocks = arrow_blocks(gold_rows(random_users(seed, users)), SPEC)
    vocabulary = learn_vocabulary(blocks, FOREVER)
    found = []
    for block in blocks():
        for start in range(0, len(block), 7):
            part = block.take(torch.arange(start, min(start + 7, len(block))).numpy())
            found.append(expand(part, vocabulary, EVERYTHING, WindowRule(), known_only=True))
    return found, vocabulary


STREAM, VOCABULARY = stream()
COUNT, CATEGORY = torch.from_numpy(VOCABULARY.items.count), torch.from_numpy(VOCABULARY.item_category)


def counts() -> Counts:
    rows: Counter[int] = Counter()
    for found in STREAM:
        rows.update({length: len(part.length) for length, part in found.items()})
    return Counts(dict(rows), sum(int(part.loss_mask.sum()) for found in STREAM for part in found.values()))


def epoch(batcher: TokenBatches, seed: int = 0) -> list[Batch]:
    order, draws = generator(seed), generator(seed)
    plans = [plan for rows in STREAM for plan in batcher.add(rows, order)]
    return [plan(draws) for plan in [*plans, *batcher.finish(order)]]


@settings(max_examples=30)
@given(st.integers(1, 5000), st.integers(1, 80))
def test_every_row_is_in_one_batch(tokens: int, pool_rows: int) -> None:
    batcher = TokenBatches(tokens, pool_rows, Asked())
    found = epoch(batcher)
    rows = Counter(int(row) for batch in found for row in batch.rows.row_id)
    assert rows == Counter(int(row) for part in STREAM for some in part.values() for row in some.row_id)
    for batch in found:
        size, length = batch.rows.item.shape
        assert size * length <= max(tokens, length)
        assert batch.samples is not None and len(batch.samples.row) == int(batch.rows.loss_mask.sum())
    assert len(found) == batcher.most_steps(counts())
    assert [len(batch.rows.length) for batch in epoch(batcher)] == [len(batch.rows.length) for batch in found]


def test_a_seed_decides_the_order() -> None:
    one, same, other = (
        [batch.rows.row_id.tolist() for batch in epoch(TokenBatches(512, 30, Asked()), seed)]
        for seed in (1, 1, 2)
    )
    assert one == same != other


def test_rows_of_different_blocks_meet() -> None:
    """A pool of all rows mixes them: neighbours in the table are rarely neighbours in a batch."""
    place = {
        int(row): at
        for at, part in enumerate(STREAM)
        for some in part.values()
        for row in some.row_id.tolist()
    }
    batches = [batch.rows.row_id.tolist() for batch in epoch(TokenBatches(2048, 10_000, Asked()))]
    full = [batch for batch in batches if len(batch) >= 8]
    assert full and all(len({place[row] for row in batch}) > 1 for batch in full)


def test_a_batch_brings_what_was_asked() -> None:
    asked = Asked(SharedNegatives(COUNT, 9), Candidates("uniform", COUNT, CATEGORY, 4), per_row=2)
    for batch in epoch(TokenBatches(1024, 50, asked)):
        assert batch.shared is not None and batch.shared.item.shape == (9,)
        samples = batch.samples
        assert samples is not None and samples.cand_item is not None and samples.cand_item.shape[1] == 5
        per_row = Counter(samples.row.tolist())
        targets = batch.rows.loss_mask.sum(dim=1).tolist()
        assert [per_row[row] for row in range(len(targets))] == [min(2, n) for n in targets]


@pytest.mark.parametrize("most", [1, 3])
def test_some_targets_are_drawn_evenly(most: int) -> None:
    rows = max((part for found in STREAM for part in found.values()), key=lambda part: int(part.length.max()))
    at = int(rows.loss_mask.sum(dim=1).argmax())
    row = take(rows, torch.tensor([at]).repeat(20_000))
    places = rows.loss_mask[at].nonzero()[:, 0]
    often = torch.bincount(some_targets(row, most, generator()).place.long(), minlength=rows.item.shape[1])
    expected = 20_000 * most / len(places)
    assert often.sum() == 20_000 * most and len(places) > 10
    assert ((often[places] - expected).abs() < 5 * expected**0.5).all()
