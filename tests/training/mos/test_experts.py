"""The experts' states against an encoder that is given each target's own sequence, event by event."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from features.spec import FamilySpec
from tests.features.tagged import random_history
from tests.oracles import strands as oracle
from tests.training.rows import rows_of
from training.batch import Batch, all_targets
from training.layers.embed import Sizes
from training.layers.encoder import Encoder, Shape
from training.layers.objective import next_item_nll
from training.layers.query import QueryHead
from training.models.mos import MoS
from training.models.mos.experts import Experts, window_mask
from training.models.mos.fusion import Gate, fuse
from training.strands import strands

SIZES = Sizes(items=60, categories=40, types=6, modes=6)
DIM, STRANDS, WINDOW = 8, 3, 4


def histories(seed=1, sizes=(40, 25, 9, 1)):
    rng = np.random.default_rng(seed)
    return [random_history(rng, size) for size in sizes]


def experts(layers=2):
    torch.manual_seed(1)
    made = Experts(Encoder(DIM, layers=layers), QueryHead(DIM), DIM, STRANDS, WINDOW)
    return made.eval()


def test_states_equal_loops_over_targets():
    """One layer, where an expert's state is attention from the last event over what the expert may see."""
    users = histories()
    rows = rows_of(users)
    x = torch.randn(*rows.item.shape, DIM)
    made, samples = experts(layers=1), all_targets(rows)
    with torch.no_grad():
        found = made(x, rows, samples)
        for n, (row, end) in enumerate(zip(samples.row.tolist(), samples.end.tolist(), strict=True)):
            shown = oracle.strands(users[row], end, FamilySpec("theme", STRANDS, 1000))
            assert found.key[n].tolist() == [*(key for key, _ in shown), 0, 0, 0][:STRANDS]
            sets = [list(range(end)), list(range(max(0, end - WINDOW), end)), *(at for _, at in shown)]
            assert found.present[n].tolist() == [e < len(sets) for e in range(2 + STRANDS)]
            for e, places in enumerate(sets):
                alone = made.encoder(x[row, places][None], None, None, torch.tensor([places]))[0, -1]
                asked = samples.query_gap[n : n + 1], samples.new_session[n : n + 1]
                state = made.head((alone + made.kind[min(e, 2)])[None], *asked)[0]
                torch.testing.assert_close(found.states[n, e], state, atol=2e-5, rtol=1e-4)


def test_unseen_history_starts_from_the_learned_state():
    rows = rows_of(histories())
    made = experts()
    samples = all_targets(rows)
    samples = replace(samples, end=torch.zeros_like(samples.end))
    x = torch.randn(*rows.item.shape, DIM)
    for found in (made(x, rows, samples), made.packed(x, rows, samples, 5)):
        assert found.present.tolist() == [[True, True] + [False] * STRANDS] * len(samples.end)
        expected = made.head(
            (made.start + made.kind[0]).expand(len(samples.end), -1), samples.query_gap, samples.new_session
        )
        torch.testing.assert_close(found.states[:, 0], expected)


def gaps(rows, samples, length):
    """(N, S) bool: strands whose events do not follow each other in the row."""
    pos = strands(rows, samples.row, samples.end, FamilySpec("theme", STRANDS, length)).pos
    return ((pos[..., 1:] - pos[..., :-1] > 1) & (pos[..., :-1] >= 0)).any(-1)


def test_packed_states_of_one_layer_equal_masked_ones():
    """Strands with gaps, running themes that are not final ones, rows longer than the window."""
    rows = rows_of(histories())
    x = torch.randn(*rows.item.shape, DIM)
    made, samples = experts(layers=1), all_targets(rows)
    length = rows.item.shape[1]
    assert gaps(rows, samples, length).any(0).all() and length > 2 * WINDOW
    assert (rows.theme != rows.session_theme).any()
    masked, packed = made(x, rows, samples), made.packed(x, rows, samples, length)
    assert torch.equal(masked.key, packed.key) and torch.equal(masked.present, packed.present)
    there = masked.present
    torch.testing.assert_close(masked.states[there], packed.states[there], atol=1e-5, rtol=1e-5)
    cut = made.packed(x, rows, samples, 2).states  # which cuts strands, and nothing else
    torch.testing.assert_close(masked.states[:, :2], cut[:, :2], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(masked.states[there], cut[there], atol=1e-3)


def test_packed_states_of_more_layers_equal_masked_ones_where_no_layer_sees_further():
    """Sessions with one running theme throughout, rows no longer than the window."""
    users = [[event._replace(theme_running=event.theme_session) for event in user] for user in histories()]
    rows = rows_of(users)
    x = torch.randn(*rows.item.shape, DIM)
    made, samples = experts(layers=2), all_targets(rows)
    made.window = length = rows.item.shape[1]
    assert gaps(rows, samples, length).any()
    masked, packed = made(x, rows, samples), made.packed(x, rows, samples, length)
    there = masked.present
    torch.testing.assert_close(masked.states[there], packed.states[there], atol=1e-5, rtol=1e-5)


def test_window_holds_the_query_and_those_before_it():
    mask = window_mask(6, 3, torch.device("cpu"))[0]
    assert [row.nonzero()[:, 0].tolist() for row in mask] == [
        [0],
        [0, 1],
        [0, 1, 2],
        [1, 2, 3],
        [2, 3, 4],
        [3, 4, 5],
    ]


def test_absent_experts_get_no_weight():
    rows = rows_of(histories())
    made = experts()
    found = made(torch.randn(*rows.item.shape, DIM), rows, all_targets(rows))
    gates = Gate(DIM, 2 + STRANDS)(found).exp()
    torch.testing.assert_close(gates.sum(1), torch.ones(len(gates)))
    assert (gates[~found.present] == 0).all() and (gates[found.present] > 0).all()
    changed = found._replace(states=torch.where(found.present[..., None], found.states, 1e3))
    fused, ones = fuse("vector", changed.states, Gate(DIM, 2 + STRANDS)(changed))
    assert (fused.abs() < 100).all() and (ones == 0).all()


@pytest.mark.parametrize("fusion", ["mixture", "vector"])
def test_scores_are_the_mixture_of_the_retrieval_vectors(fusion):
    torch.manual_seed(0)
    rows = rows_of(histories())
    model = MoS(SIZES, Shape(dim=DIM), codes=40, strands=STRANDS, window=WINDOW, fusion=fusion).eval()
    samples = all_targets(rows)
    with torch.no_grad():
        vectors, weights, category = model.retrieval_vectors(rows, samples)
        scores = model.score_catalogue(rows, samples)
    assert vectors.shape[1] == (2 + STRANDS if fusion == "mixture" else 1)
    assert category is None
    table = model.item_vectors()[2:].double()
    expected = (weights[..., None].double() * (vectors.double() @ table.T).softmax(-1)).sum(1).log()
    torch.testing.assert_close(scores[:, 2:].double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fusion", ["mixture", "vector"])
def test_strand_loss_is_that_of_the_strand_the_target_joins(fusion):
    """Against the oracle's strands: the one whose key is the target's session's final theme."""
    torch.manual_seed(0)
    users = histories(3, (40, 20))
    rows = rows_of(users)
    model = MoS(SIZES, Shape(dim=DIM), codes=40, strands=STRANDS, window=WINDOW, fusion=fusion).eval()
    with torch.no_grad():
        loss = model.training_loss(Batch(rows))
        samples = all_targets(rows)
        found = model.found(rows, samples)
        table = model.embed.item_vectors()
    expected, at = [], zip(samples.row.tolist(), samples.end.tolist(), samples.place.tolist(), strict=True)
    for n, (row, end, place) in enumerate(at):
        target = users[row][place]
        keys = [key for key, _ in oracle.strands(users[row], end, FamilySpec("theme", STRANDS, 1))]
        if target.theme_session in keys:
            state = found.states[n, 2 + keys.index(target.theme_session)]
            expected.append(-(table[2:] @ state).log_softmax(0)[target.item - 2])
    assert 0 < len(expected) < len(samples.row)
    torch.testing.assert_close(loss.parts["strand"], torch.stack(expected).mean(), atol=1e-5, rtol=1e-5)
    nll = -model.score_catalogue(rows, samples).gather(1, samples.item.long()[:, None]).mean()
    torch.testing.assert_close(loss.parts["next_item"], nll.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loss.total, loss.parts["next_item"] + 0.5 * loss.parts["strand"])


def test_fused_experts_are_not_scored_apart(monkeypatch):
    """The fused state and the strand that the target joins are all that the loss needs."""
    scored = []

    def spy(states, *rest):
        scored.append(states.shape[1])
        return next_item_nll(states, *rest)

    monkeypatch.setattr("training.models.mos.retrieval.next_item_nll", spy)
    for fusion in ("mixture", "vector"):
        MoS(SIZES, Shape(dim=DIM), codes=40, fusion=fusion).training_loss(Batch(rows_of(histories())))
    assert scored == [6, 2]
