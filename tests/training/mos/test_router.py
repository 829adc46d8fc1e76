from dataclasses import replace

import numpy as np
import pytest
import torch

from features.spec import FamilySpec
from tests.features.tagged import random_history
from tests.training.rows import rows_of
from training.batch import all_targets
from training.models.mos.router import Router, running_session_vectors, session_ends
from training.models.mos.stages import Stage, Stages
from training.strands import strands


def rows(seed=0):
    rng = np.random.default_rng(seed)
    histories = [random_history(rng, size) for size in (30, 17, 1)]
    found = rows_of(histories, pad=2)
    item = torch.randint(0, 9, found.item.shape, generator=torch.Generator().manual_seed(seed))
    return replace(found, item=torch.where(found.session > 0, item.clamp(min=1), 0).int())


def items(seed=0):
    return torch.randn(9, 4, generator=torch.Generator().manual_seed(seed))


def session_mean(found, table, b, p):
    """Unit mean of the known items of place p's session up to p, None without any."""
    known = [
        table[found.item[b, j]]
        for j in range(p + 1)
        if found.session[b, j] == found.session[b, p] and found.item[b, j] >= 2
    ]
    return sum(known) / sum(known).norm() if known else None


def test_session_ends():
    assert session_ends(torch.tensor([[1, 1, 3, 4, 4, 0, 0]])).tolist() == [[1, 1, 2, 4, 4, 6, 6]]


def test_running_vectors_equal_loops():
    found, table = rows(), items()
    z, known = running_session_vectors(found, table)
    for b in range(3):
        for p in range(int(found.length[b])):
            expected = session_mean(found, table, b, p)
            assert bool(known[b, p]) == (expected is not None)
            if expected is not None:
                torch.testing.assert_close(z[b, p], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("stage", [Stage.CODES, Stage.GATE])
def test_codes_tag_events_by_the_session_so_far(stage):
    found, table = rows(), items()
    router = Router(3, 4)
    router.codebook.update(torch.eye(3, 4), torch.arange(3), torch.ones(3).bool())
    router.stage = stage
    tagged = router.tagged(found, table)
    for b in range(3):
        for p in range(found.item.shape[1]):
            if found.session[b, p] == 0:
                assert tagged.theme[b, p] == 0 and tagged.session_theme[b, p] == 0
                continue
            mean = session_mean(found, table, b, p)
            assert int(tagged.theme[b, p]) == (1 if mean is None else int(mean[:3].argmax()) + 2)
            last = max(j for j in range(int(found.length[b])) if found.session[b, j] == found.session[b, p])
            assert tagged.session_theme[b, p] == tagged.theme[b, last]
    assert torch.equal(tagged.item, found.item)


def test_with_samples_only_sessions_and_asked_places_choose_codes(monkeypatch):
    """What strands read is as it is without; no other place is compared with the codes."""
    found, table = rows(), items()
    router = Router(3, 4)
    router.codebook.update(torch.eye(3, 4), torch.arange(3), torch.ones(3).bool())
    router.stage = Stage.GATE
    whole = router.tagged(found, table)
    samples = all_targets(found).map(lambda tensor: tensor[::5])
    places = {(int(r), max(int(e) - 1, 0)) for r, e in zip(samples.row, samples.end, strict=True)}
    ends = session_ends(found.session)
    places |= {(b, int(ends[b, p])) for b in range(3) for p in range(int(found.length[b]))}
    _, known = running_session_vectors(found, table)
    compared, nearest = [], router.codebook.nearest
    monkeypatch.setattr(router.codebook, "nearest", lambda z: compared.append(len(z)) or nearest(z))
    tagged = router.tagged(found, table, samples)
    assert compared == [sum(bool(known[place]) for place in places)]
    assert torch.equal(tagged.session_theme, whole.session_theme)
    assert all(tagged.theme[place] == whole.theme[place] for place in places)
    family = FamilySpec("theme", 3, 5)
    for mine, plain in zip(
        strands(tagged, samples.row, samples.end, family),
        strands(whole, samples.row, samples.end, family),
        strict=True,
    ):
        assert torch.equal(mine, plain)


def test_themes_are_passed_on_at_first():
    found = rows()
    router = Router(50, 4)
    assert router.tagged(found, items()) is found


def test_codes_begin_as_the_means_of_the_pipelines_sessions():
    found, table = rows(), items()
    router = Router(50, 4)
    router.learn(router.tagged(found, table), table)
    z, known = running_session_vectors(found, table)
    ends = session_ends(found.session)
    for theme in range(2, int(found.session_theme.max()) + 1):
        own = [
            z[b, p]
            for b in range(3)
            for p in range(int(found.length[b]))
            if int(ends[b, p]) == p and found.session_theme[b, p] == theme and known[b, p]
        ]
        total = sum(own, torch.zeros(4))
        torch.testing.assert_close(router.codebook.total[theme - 2], total * 0.01, atol=1e-5, rtol=1e-4)


def test_fixed_codes_do_not_move():
    found, table = rows(), items()
    router = Router(50, 4)
    router.learn(router.tagged(found, table), table)
    router.stage = Stage.GATE
    before = router.codebook.total.clone()
    router.learn(router.tagged(found, table), table)
    assert torch.equal(router.codebook.total, before)
    router.stage = Stage.CODES
    router.learn(router.tagged(found, table), table)
    assert not torch.equal(router.codebook.total, before)


def test_dead_codes_are_revived_once_codes_route():
    """As many as there are sessions that have no code of their own; the others wait for more of them."""
    found, table = rows(), items()
    router = Router(50, 4)
    router.learn(router.tagged(found, table), table)
    dead = router.codebook.count == 0
    assert dead.any()  # the pipeline has fewer themes
    router.stage = Stage.CODES
    router.learn(router.tagged(found, table), table)
    revived = dead & (router.codebook.count > 0)
    assert revived.any() and (router.codebook.idle[revived] == 0).all()
    vectors = router.codebook.vectors()[router.codebook.count > 0]
    assert ((vectors @ vectors.T - torch.eye(len(vectors))) < 1 - 1e-6).all()
    z, known = running_session_vectors(found, table)
    z = z[(session_ends(found.session) == torch.arange(found.item.shape[1])) & known]
    torch.testing.assert_close((z @ vectors.T).amax(1), torch.ones(len(z)))  # so each now has one


def test_the_stage_is_saved_with_the_weights():
    router, other = Router(4, 4), Router(4, 4)
    router.stage = Stage.GATE
    other.load_state_dict(router.state_dict())
    assert other.stage is Stage.GATE


def test_themes_without_a_code_are_refused():
    with pytest.raises(ValueError, match="raise codes to"):
        Router(1, 4).tagged(rows(), items())


def test_stages_follow_the_steps():
    stages = Stages(0.6, 0.3)
    found = [stages.at(step, 100) for step in range(100)]
    assert [found.count(stage) for stage in Stage] == [60, 30, 10]
    assert found == sorted(found)
    with pytest.raises(ValueError, match="shares"):
        Stages(0.8, 0.3)
