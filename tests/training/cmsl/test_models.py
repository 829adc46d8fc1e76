"""Both forms as models: what they may see, that their scores agree with each other, and that they learn."""

from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
from pytest import MonkeyPatch
from torch import Tensor, nn

from features.spec import FamilySpec
from tests.oracles.strands import Event
from tests.training.chains import chain_rows
from tests.training.cmsl.cases import (
    FAMILIES,
    SIZES,
    SMALL,
    item_category,
    random_rows,
    ranker,
    retrieval,
    with_candidates,
)
from tests.training.rows import rows_of
from training.batch import Batch, Rows, Samples, Shared, all_targets
from training.losses import FULL_SOFTMAX_ITEMS
from training.model import Model
from training.models.cmsl import ranking
from training.models.cmsl.ranking import CmslRanker
from training.models.cmsl.retrieval import Cmsl

LINEAR = replace(SMALL, attention="linear")
Made = Callable[[], nn.Module]
MODELS: dict[str, Made] = {
    "retrieval": retrieval,
    "retrieval, linear": lambda: retrieval(LINEAR),
    "ranking": ranker,
    "ranking, linear": lambda: ranker(LINEAR),
    "ranking with strands": lambda: ranker(families=FAMILIES),
}
ALL = pytest.mark.parametrize("made", MODELS.values(), ids=MODELS.keys())


def future_changed(rows: Rows, row: int, end: int) -> Rows:
    """The rows with all that a sample must not read made different, in one row.

    All columns at and behind ``end``, and the final theme of the session of the event before it.
    """
    columns = {}
    for field in fields(Rows):
        values = getattr(rows, field.name).clone()
        if values.ndim == 2 and values.dtype == torch.int32 and field.name != "read_at":
            top = 100 if field.name == "item" else 6
            values[row, end:] = (values[row, end:] + 1) % top
        columns[field.name] = values
    if end:
        open_session = rows.session[row] == rows.session[row, end - 1]
        columns["session_theme"][row, open_session] += 1
    return Rows(**columns)


@torch.no_grad()
@ALL
def test_nothing_from_the_target_on_is_read(made: Made) -> None:
    model, rows = made(), random_rows(3)
    samples = with_candidates(rows)
    expected = model.score_candidates(rows, samples)
    for n in range(0, len(samples.row), 3):
        sample = samples.map(lambda values, n=n: values[n : n + 1])
        changed = future_changed(rows, int(sample.row), int(sample.end))
        found = model.score_candidates(changed, replace(sample, place=sample.place * 0))
        torch.testing.assert_close(found[0], expected[n], rtol=0, atol=1e-6)


@torch.no_grad()
@ALL
def test_what_is_visible_is_read(made: Made) -> None:
    """The newest visible event, the gap and the new session each have a say; so the test above can fail."""
    model, rows = made(), random_rows(3)
    samples = with_candidates(rows)
    last = int((samples.end > 2).nonzero()[-1])
    sample = samples.map(lambda values: values[last : last + 1])
    expected = model.score_candidates(rows, sample)
    item = rows.item.clone()
    item[int(sample.row), int(sample.end) - 1] = 3
    others = [
        (replace(rows, item=item), sample),
        (rows, replace(sample, query_gap=sample.query_gap + 1)),
        (rows, replace(sample, new_session=~sample.new_session)),
    ]
    for changed, asked in others:
        assert not torch.allclose(model.score_candidates(changed, asked), expected, rtol=0, atol=1e-6)


@torch.no_grad()
@ALL
def test_padding_and_company_have_no_say(made: Made) -> None:
    """A row alone, without padding, scores as it does among longer ones."""
    model, rows = made(), random_rows(5)
    samples = with_candidates(rows)
    expected = model.score_candidates(rows, samples)
    for row, length in enumerate(rows.length.tolist()):
        alone = rows.map(lambda x, row=row, length=length: x[row : row + 1, :length] if x.ndim > 1 else x[:1])
        own = samples.row == row
        asked = samples.map(lambda values, own=own: values[own])
        asked = replace(asked, row=torch.zeros_like(asked.row))
        torch.testing.assert_close(model.score_candidates(alone, asked), expected[own], rtol=0, atol=1e-5)


@torch.no_grad()
@ALL
def test_the_catalogue_holds_the_candidates(made: Made) -> None:
    model, rows = made(), random_rows(7)
    samples = with_candidates(rows).map(lambda values: values[::9])
    every = model.score_catalogue(rows, samples)
    assert isinstance(model, Model)
    assert every.shape == (len(samples.row), SIZES.items) and every.dtype == torch.float32
    assert torch.isneginf(every[:, :2]).all() and every[:, 2:].isfinite().all()
    found = model.score_candidates(rows, samples)
    torch.testing.assert_close(found, every.gather(1, samples.cand_item.long()), rtol=0, atol=1e-5)


@torch.no_grad()
def test_retrieval_vectors_give_the_scores() -> None:
    model, rows = retrieval(), random_rows(7)
    samples = all_targets(rows)
    found = model.retrieval_vectors(rows, samples)
    scores = (found.vectors[:, 0] @ model.item_vectors().T)[:, 2:]
    torch.testing.assert_close(scores, model.score_catalogue(rows, samples)[:, 2:])
    assert torch.equal(found.weight, torch.ones(len(samples.row), 1)) and found.category is None


def test_retrieval_loss_is_the_mean_cross_entropy_of_known_targets() -> None:
    model, rows = retrieval(), random_rows(1)
    rows.item[0, 1] = 1  # unknown: seen, but not predicted
    samples = all_targets(rows)
    scores = model.score_catalogue(rows, samples).double()[:, 2:]
    known = samples.item >= 2
    nll = -scores[known].log_softmax(-1).gather(1, samples.item[known, None].long() - 2)
    loss = model.training_loss(Batch(rows))
    torch.testing.assert_close(loss.total.double(), nll.mean(), rtol=1e-5, atol=1e-6)
    assert loss.parts.keys() == {"next_item"}


def test_retrieval_samples_the_softmax_of_large_vocabularies() -> None:
    sizes = replace(SIZES, items=FULL_SOFTMAX_ITEMS + 1)
    torch.manual_seed(0)
    model, rows = Cmsl(sizes, SMALL).eval(), random_rows(1)
    shared = Shared(torch.tensor([5, 6, 7], dtype=torch.int32), torch.zeros(3), torch.zeros(rows.item.shape))
    assert model.training_loss(Batch(rows, shared=shared)).total < model.training_loss(Batch(rows)).total


def test_ranking_loss_is_the_mean_log_loss_of_known_candidates() -> None:
    model, rows = ranker(), random_rows(1)
    samples = with_candidates(rows).map(lambda values: values[:6])
    samples.cand_item[2, 3] = 0  # no such negative
    samples.cand_item[4, 0] = 1  # an unknown target: the whole sample is out
    logits = model.score_candidates(rows, samples).double()
    terms = []
    for n in range(6):
        for c in range(4):
            if samples.cand_item[n, c] >= 2 and n != 4:
                p = torch.sigmoid(logits[n, c])
                terms.append(-torch.log(p if c == 0 else 1 - p))
    assert len(terms) == 19
    loss = model.training_loss(Batch(rows, samples=samples)).total
    torch.testing.assert_close(loss.double(), torch.stack(terms).mean(), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_a_candidate_is_scored_by_itself() -> None:
    """The other candidates have no say."""
    model, rows = ranker(), random_rows(2)
    samples = with_candidates(rows).map(lambda values: values[:20])
    expected = model.score_candidates(rows, samples)
    one = replace(samples, cand_item=samples.cand_item[:, 2:3])
    torch.testing.assert_close(model.score_candidates(rows, one), expected[:, 2:3], rtol=0, atol=1e-5)


@pytest.mark.parametrize("places", [1, 9 * 7])
def test_slices_hold_so_many_places_and_change_nothing(monkeypatch: MonkeyPatch, places: int) -> None:
    """With a history of 9, one candidate and seven at a time; gradients too are those of one pass."""
    model, rows = ranker(), random_rows(2)
    samples = with_candidates(rows).map(lambda values: values[:20])
    batch = Batch(rows, samples=samples)
    encoded: list[int] = []
    model.encoder.register_forward_pre_hook(lambda _, given_to: encoded.append(len(given_to[0])))

    def learn() -> list[Tensor]:
        model.zero_grad()
        loss = model.training_loss(batch).total
        loss.backward()
        return [loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]

    expected = [*learn(), model.score_candidates(rows, samples).detach()]
    assert encoded == [80, 80]
    encoded.clear()
    monkeypatch.setattr(ranking, "PLACES", places)
    found = [*learn(), model.score_candidates(rows, samples).detach()]
    assert max(encoded) == max(1, places // 9)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_ranker_reads_its_history_and_no_more() -> None:
    rows = random_rows(3)
    samples = with_candidates(rows)
    far = samples.map(lambda values: values[samples.end == samples.end.max()][:1])
    end = int(far.end)
    assert end > 12
    with_item = [(end - 9, True), (end - 10, False)]
    model = ranker(history=9)
    expected = model.score_candidates(rows, far)
    for place, has_say in with_item:
        item = rows.item.clone()
        item[int(far.row), place] = 3 if item[int(far.row), place] != 3 else 4
        found = model.score_candidates(replace(rows, item=item), far)
        assert torch.equal(found, expected) != has_say


@torch.no_grad()
def test_a_ranker_encodes_the_prefix_and_nothing_else() -> None:
    """Sample by sample without padding; where nothing is visible, one learned event stands in."""
    model, rows = ranker(history=9), random_rows(3)
    samples = with_candidates(rows)
    expected = model.score_candidates(rows, samples)
    assert (samples.end == 0).any()
    embedded = model.embed(rows)
    for n in range(len(samples.row)):
        end = int(samples.end[n])
        seen = embedded[samples.row[n], max(0, end - 9) : end] + model.sum.which[0]
        events = model.sum.gate(seen).sigmoid() * seen if end else model.nothing[None]
        item = int(samples.cand_item[n, 1])
        candidate = model.embed.item.weight[item] + model.embed.category.weight[item_category()[item]]
        query = model.query(samples.query_gap[n : n + 1], samples.new_session[n : n + 1])[0]
        tokens = torch.cat([model.norm(torch.stack([candidate, query])), model.tokens])[None]
        _, made = model.encoder(events[None], tokens, torch.tensor([len(events)]))
        logit = model.logit(model.skip(torch.cat([tokens, *made], dim=1)))[0, 0]
        torch.testing.assert_close(expected[n, 1], logit, rtol=0, atol=1e-5)


@torch.no_grad()
def test_strands_bring_back_what_the_history_no_longer_holds() -> None:
    """Of four visible events of a category, a strand of three still reads the second, with history 3."""
    categories = [2, 2, 2, 3, 3, 3, 2, 2]
    rows = rows_of([[Event(at * 10**6, 9 + at, of, 1, 1, 1, 1) for at, of in enumerate(categories)]])
    sample = with_candidates(rows).map(lambda values: values[-1:])  # the last event; it sees 0 … 6
    with_strands = ranker(history=3, families=(FamilySpec("category", 1, 3),))
    without = ranker(history=3)
    for place, in_strand in ((0, False), (1, True), (2, True), (3, False)):
        item = rows.item.clone()
        item[0, place] = 50
        changed = replace(rows, item=item)
        for model, has_say in ((with_strands, in_strand), (without, False)):
            same = torch.equal(model.score_candidates(rows, sample), model.score_candidates(changed, sample))
            assert same != has_say


def fit(model: nn.Module, batch: Batch, steps: int) -> list[float]:
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    model.train()
    for _ in range(steps):
        loss = model.training_loss(batch).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    model.eval()
    return losses


@pytest.mark.parametrize("config", [SMALL, LINEAR], ids=["softmax", "linear"])
def test_retrieval_learns(config: object) -> None:
    """Items of one theme follow each other: far better than a guess after a few steps."""
    rows, _, sizes = chain_rows(12, themes=3, own=3, items_per_theme=10, seed=1)
    torch.manual_seed(0)
    losses = fit(Cmsl(sizes, config), Batch(rows), 40)
    assert losses[0] > 3.2 and losses[-1] < 2.6


def test_ranking_learns() -> None:
    """The next item is one or two steps on: candidates are told from random ones."""
    rows, _, sizes = chain_rows(16, themes=2, own=2, items_per_theme=8, seed=1)
    torch.manual_seed(0)
    samples = all_targets(rows).map(lambda values: values[::4])
    negative = torch.randint(2, sizes.items, (len(samples.row), 1))
    samples: Samples = replace(samples, cand_item=torch.cat([samples.item[:, None], negative], 1).int())
    model = CmslRanker(sizes, torch.zeros(sizes.items), SMALL, history=6)
    losses = fit(model, Batch(rows, samples=samples), 60)
    assert losses[0] < 0.8 and losses[-1] < 0.45


def test_what_is_missing_is_named() -> None:
    rows = random_rows(1)
    with pytest.raises(ValueError, match="cand_item"):
        ranker().training_loss(Batch(rows))
    for model in (ranker(), retrieval()):
        with pytest.raises(ValueError, match="cand_item"):
            model.score_candidates(rows, all_targets(rows))
    with pytest.raises(ValueError, match="tokens 2"):
        ranker(replace(SMALL, tokens=2))


@torch.no_grad()
def test_all_that_a_score_depends_on_is_in_the_state() -> None:
    one, other = ranker(), ranker()
    other.item_category += 1
    for parameter in other.parameters():
        parameter.add_(0.1)
    other.load_state_dict(one.state_dict())
    rows = random_rows(1)
    samples = with_candidates(rows).map(lambda values: values[:3])
    assert torch.equal(*(model.score_candidates(rows, samples) for model in (one, other)))
