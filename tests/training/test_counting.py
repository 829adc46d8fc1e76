"""The counting controls against dictionaries filled from the histories, and that none sees the future."""

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch

from features.codes import FIRST_INDEX
from tests.training.evaluate.data import batches, histories, source
from tests.training.gold import SPEC, Histories, hashed
from training.batch import Batch, Samples
from training.model import Model
from training.models.counting import CountModel, SparseCounts
from training.models.frequency import Frequency
from training.models.popularity import Popularity
from training.models.transition import Transition
from training.splits import FOREVER, Split
from training.windows import WindowRule

USERS = histories(9)
END = 12
SOURCE = source(USERS, WindowRule.whole(SPEC.pool), train_end=END)
ITEMS = SOURCE.vocabulary.items.size
TRAIN, TEST = Split("train", -FOREVER, END), Split("test", END, FOREVER)
CODE = {int(index): code for code, index in enumerate(SOURCE.vocabulary.items.index) if code >= FIRST_INDEX}
MODELS = [
    lambda items=ITEMS: Popularity(items),
    lambda items=ITEMS: Popularity(items, half_life=3.0),
    lambda items=ITEMS: Transition(items, back_off=0.5),
    lambda items=ITEMS: Frequency(items),
    lambda items=ITEMS: Frequency(items, half_life=2.0, back_off=0.3),
]


def fitted(make) -> CountModel:
    return make().fit(batches(SOURCE, TRAIN))


def seconds(event) -> int:
    return event.ts // 1_000_000


def train_targets(users: Histories):
    """(user, history before it, target) of every training target with a code."""
    for user, events in users.items():
        for event in events:
            if seconds(event) < END and event.ts > events[0].ts:
                yield user, [other for other in events if other.ts < event.ts], event


def shares(counts: dict[int, float]) -> np.ndarray:
    """Popularity by code: what was never counted gets half of the least."""
    least = min(value for value in counts.values() if value > 0)
    values = np.array([counts.get(code) or least / 2 for code in range(2, ITEMS)])
    return np.concatenate([[0, 0], values / values.sum()])


def popularity() -> np.ndarray:
    return shares(Counter(CODE[event.item] for *_, event in train_targets(USERS)))


@pytest.mark.parametrize("size", [200, 5000])
def test_popularity_counts_training_targets(size):
    model = Popularity(ITEMS).fit(batches(SOURCE, TRAIN, size))
    np.testing.assert_allclose(model.log_share.exp().numpy(), popularity(), rtol=1e-5)
    assert (model.log_share[:2] == -torch.inf).all()


@pytest.mark.parametrize("size", [200, 5000])
def test_recent_popularity_halves_with_each_half_life(size):
    newest = max(seconds(event) for *_, event in train_targets(USERS))
    counts: dict[int, float] = defaultdict(float)
    for *_, event in train_targets(USERS):
        counts[CODE[event.item]] += 2.0 ** ((seconds(event) - newest) / 3)
    shuffled = batches(SOURCE, TRAIN, size)[::-1]
    model = Popularity(ITEMS, half_life=3.0).fit(shuffled)
    np.testing.assert_allclose(model.log_share.exp().numpy(), shares(counts), rtol=1e-5)


def test_transitions_are_counted_from_the_last_visible_item():
    model = fitted(MODELS[2])
    pairs: Counter[tuple[int, int]] = Counter()
    for _, history, event in train_targets(USERS):
        pairs[CODE[history[-1].item], CODE[event.item]] += 1
    assert max(pairs.values()) > 1
    popular = popularity()
    for last, scores in asked(model):
        total = sum(count for (before, _), count in pairs.items() if before == last)
        expected = [(pairs[last, code] + 0.5 * popular[code]) / (total + 0.5) for code in range(ITEMS)]
        np.testing.assert_allclose(scores.exp().numpy(), expected, rtol=1e-5, atol=1e-9)


def asked(model: CountModel):
    """Code of the last visible item (1 where unknown) and the scores of every test target."""
    for batch in batches(SOURCE, TEST):
        scores = model.score_catalogue(batch.rows, batch.samples)
        for row, end, own in zip(batch.samples.row, batch.samples.end, scores, strict=True):
            yield int(batch.rows.item[row, end - 1]), own


@pytest.mark.parametrize("half_life", [None, 2.0])
@pytest.mark.parametrize("split", [TRAIN, TEST], ids=["train", "test"])
@pytest.mark.parametrize(
    "rule", [WindowRule.whole(SPEC.pool), WindowRule(12, 5, (12,))], ids=["whole", "windows"]
)
def test_frequency_counts_the_whole_history(half_life, split, rule):
    """After the training's end windows lose nothing that was trained on; only what lies between is cut."""
    found = source(USERS, rule, train_end=END)
    model = Frequency(ITEMS, half_life, 0.3).fit(batches(found, TRAIN))
    until = int(model.until)
    assert until == max(seconds(event) for *_, event in train_targets(USERS))
    names = {hashed(user): events for user, events in USERS.items()}
    checked, popular = 0, popularity()
    for batch in batches(found, split):
        scores = model.score_catalogue(batch.rows, batch.samples)
        for n, (row, end, now) in enumerate(
            zip(batch.samples.row, batch.samples.end, batch.samples.query_ts.tolist(), strict=True)
        ):
            events = names[int(batch.rows.user_id[row])]
            seen = batch.rows.item[row, :end].tolist(), batch.rows.ts[row, :end].tolist()
            visible = list(zip(*seen, strict=True))
            if split is TEST and events[0].ts // 1_000_000 <= until and met(events):
                old = [(CODE.get(e.item, 1), seconds(e)) for e in events if seconds(e) <= until]
                visible = old + [(item, ts) for item, ts in visible if ts > until]
            weight = np.zeros(ITEMS)
            for item, ts in visible:
                weight[item] += 1.0 if half_life is None else 2.0 ** ((ts - now) / half_life)
            weight[:FIRST_INDEX] = 0
            share = weight + 0.3 * popular
            np.testing.assert_allclose(scores[n].exp().numpy(), share / share.sum(), rtol=1e-4, atol=1e-8)
            checked += 1
    assert checked > 50


def met(events) -> bool:
    """Whether a user has a training target."""
    return any(seconds(event) < END and event.ts > events[0].ts for event in events)


@pytest.mark.parametrize("make", MODELS)
def test_scores_are_log_probabilities_and_candidates_are_scored_alike(make):
    model = fitted(make)
    assert isinstance(model, Model)
    for batch in batches(SOURCE, TEST):
        scores = model.score_catalogue(batch.rows, batch.samples)
        assert scores.shape == (len(batch.samples.row), ITEMS) and scores.dtype == torch.float32
        torch.testing.assert_close(scores.exp().sum(1), torch.ones(len(scores)), rtol=1e-4, atol=0)
        assert (scores[:, :2] == -torch.inf).all() and scores[:, 2:].isfinite().all()
        cand = torch.randint(2, ITEMS, (len(scores), 6), generator=torch.Generator().manual_seed(0)).int()
        found = model.score_candidates(batch.rows, replace(batch.samples, cand_item=cand))
        torch.testing.assert_close(found, scores.gather(1, cand.long()), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="no candidates"):
        model.score_candidates(batch.rows, batch.samples)


@pytest.mark.parametrize("make", MODELS)
def test_training_loss_is_the_mean_negative_log_likelihood(make):
    model = fitted(make)
    batch = batches(SOURCE, TEST)[0]
    samples = batch.samples
    known = samples.item >= FIRST_INDEX
    own = model.score_catalogue(batch.rows, samples).gather(1, samples.item.long()[:, None])[known]
    loss = model.training_loss(Batch(batch.rows))
    assert loss.total.item() == pytest.approx(-own.mean().item(), rel=1e-5)
    assert not loss.total.requires_grad and "nll" in loss.parts


@pytest.mark.parametrize("make", MODELS)
def test_nothing_at_or_after_a_target_moves_its_score(make):
    """What a target and all after it are (items, types, themes, times) is replaced, one target at a time."""
    model = fitted(make)
    batch = max(batches(SOURCE, TEST), key=lambda batch: len(batch.samples.row))
    before = model.score_catalogue(batch.rows, batch.samples)
    random = torch.Generator().manual_seed(1)
    moved = 0
    for n in range(0, len(batch.samples.row), 5):
        sample: Samples = batch.samples.map(lambda tensor, n=n: tensor[n : n + 1])
        places = torch.arange(batch.rows.item.shape[1])
        later = torch.zeros_like(batch.rows.loss_mask)
        later[sample.row] = places[None] >= sample.end[:, None]
        noise = torch.randint(2, ITEMS, batch.rows.item.shape, generator=random).int()
        changed = {
            name: torch.where(later, noise, getattr(batch.rows, name))
            for name in ("item", "category", "type", "mode", "theme", "session_theme")
        }
        ts = torch.where(later, batch.rows.ts + 1_000 * noise, batch.rows.ts)
        found = model.score_catalogue(replace(batch.rows, ts=ts, **changed), sample)
        torch.testing.assert_close(found[0, 2:], before[n, 2:], rtol=0, atol=1e-6)
        moved += int((changed["item"] != batch.rows.item).sum())
    assert moved > 100


@pytest.mark.parametrize("make", MODELS[3:])
def test_targets_of_the_training_time_count_no_later_training_event(make):
    """The fit's memory of a user must not speak about his past."""
    model = fitted(make)
    batch = batches(SOURCE, TRAIN)[0]
    forgetful = make().fit(batches(SOURCE, TRAIN))
    forgetful.user = forgetful.user[:0]
    torch.testing.assert_close(
        model.score_catalogue(batch.rows, batch.samples), forgetful.score_catalogue(batch.rows, batch.samples)
    )


@pytest.mark.parametrize("make", MODELS)
def test_a_saved_model_is_loaded_into_one_that_was_never_fitted(make, tmp_path):
    model = fitted(make)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    loaded = make()
    loaded.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    batch = batches(SOURCE, TEST)[0]
    assert torch.equal(
        model.score_catalogue(batch.rows, batch.samples), loaded.score_catalogue(batch.rows, batch.samples)
    )


@pytest.mark.parametrize("make", MODELS)
def test_unknown_items_are_counted_nowhere(make):
    """Rows that were coded without half of the items: code 1 is neither a target nor a last item."""
    rare = source(USERS, WindowRule.whole(SPEC.pool), train_end=2)
    items = rare.vocabulary.items.size
    known = make(items).fit(batches(rare))
    batch = max(batches(rare), key=lambda batch: int((batch.rows.item == 1).sum()))
    assert (batch.rows.item == 1).any() and items < ITEMS
    scores = known.score_catalogue(batch.rows, batch.samples)
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(len(scores)), rtol=1e-4, atol=0)
    last = batch.rows.item[batch.samples.row, batch.samples.end.long() - 1]
    if isinstance(known, Transition):
        assert (last == 1).any()
        torch.testing.assert_close(scores[last == 1][0], known.popularity.log_share)


def test_an_unfitted_model_and_a_start_without_history_know_popularity_only():
    batch = batches(SOURCE, TEST)[0]
    for make in MODELS:
        scores = make().score_catalogue(batch.rows, batch.samples)
        assert scores[:, 2:].isfinite().all()
    blind = replace(batch.samples, end=torch.zeros_like(batch.samples.end))
    scores = fitted(MODELS[2]).score_catalogue(batch.rows, blind)
    np.testing.assert_allclose(scores[0].exp().numpy(), popularity(), rtol=1e-5)


def test_first_baskets_cut_over_rows_of_one_batch_are_remembered_once():
    """Long ties: several rows whose first target sees the user's first events alone."""
    users = {
        "u": [
            event._replace(ts=1_000_000 if at < 3 else 2_000_000)
            for at, event in enumerate(USERS["u03"][:80])
        ]
    }
    for tokens in (12, 5000):
        found = source(users, WindowRule(12, 5, (12,)))
        model = Frequency(found.vocabulary.items.size).fit(batches(found, tokens=tokens))
        assert len(batches(found, tokens=12)) > 3
        assert model.memory.value.sum() == 80


def test_sparse_counts_are_a_matrix():
    random = np.random.default_rng(0)
    row, column = random.integers(0, 5, 60), random.integers(0, 7, 60)
    dense = np.zeros((5, 7))
    np.add.at(dense, (row, column), 1.5)
    counts = SparseCounts(7).replace(torch.from_numpy(row), torch.from_numpy(column), torch.full((60,), 1.5))
    every = torch.arange(7).expand(5, -1)
    np.testing.assert_array_equal(counts.at(torch.arange(5), every).numpy(), dense)
    found = counts.rows(torch.tensor([3, 0, 3]))
    again = np.zeros((3, 7))
    np.add.at(again, (found.asked.numpy(), found.column.numpy()), found.value.numpy())
    np.testing.assert_array_equal(again, dense[[3, 0, 3]])
    assert SparseCounts(7).at(torch.arange(5), every).sum() == 0
    assert len(SparseCounts(7).rows(torch.arange(5)).asked) == 0


def test_settings_that_mean_nothing_are_errors():
    with pytest.raises(ValueError, match="must be positive"):
        Popularity(ITEMS, half_life=0)
    with pytest.raises(ValueError, match="must be positive"):
        Frequency(ITEMS, half_life=-1)
    with pytest.raises(ValueError, match="no trained item"):
        Popularity(2)
    with pytest.raises(ValueError, match="no training target"):
        Frequency(ITEMS).fit([])
