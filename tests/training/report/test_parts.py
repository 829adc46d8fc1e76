"""What the report computes: intervals, weights of strands, chosen users; and what it escapes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from features.page.html import join
from tests.training.report.conftest import Fit
from training.evaluate.ranking import Calibration
from training.evaluate.slices import SLICES
from training.models.cmsl.retrieval import Cmsl
from training.report.asked import pick, sample
from training.report.calibration_section import expected_error, reliability
from training.report.entry import Contest, Entry, differences
from training.report.gather import Bench, Gathered, gather, read_runs
from training.report.people import HISTORY, Event, Person, Session, chosen
from training.report.people_section import users
from training.report.ranks_section import found_within
from training.report.usage import silenced, usage


def frame(ranks: list[float], **columns: list[object]) -> pd.DataFrame:
    count = len(ranks)
    plain = {
        "user": list(range(count)),
        "row": list(range(count)),
        "place": [3] * count,
        "ts": [100] * count,
        "item": [5] * count,
        "rank": ranks,
        "history": [10] * count,
        "hops": [0] * count,
        "session_start": [False] * count,
        "hop": [0] * count,
        "returning": [False] * count,
    }
    return pd.DataFrame(plain | columns)


def test_intervals_hold_the_mean_and_count_every_seed() -> None:
    entry = Entry("a", {1: frame([1, 2, np.inf, 1]), 2: frame([1, 2, np.inf, 20])}, {})
    found = entry.spread("hr_10")
    assert found is not None
    assert found.estimate == pytest.approx(5 / 8) and found.seeds == 2
    assert found.low <= found.estimate <= found.high
    assert Entry("b", {1: frame([1.0])}, {}).spread("hr_10") is None  # one user cannot be resampled


def test_models_that_answered_other_targets_are_not_compared() -> None:
    one, other = Entry("a", {1: frame([1, 2, 3])}, {}), Entry("b", {1: frame([1, 2])}, {})
    (found,) = differences(Contest("test", "hr_10", [one, other], [("a", "b")]), ["all"])
    assert found.verdict == "unknown" and "different targets" in found.why


def test_shares_found_within_a_rank() -> None:
    assert [found_within(frame([1, 5, 50, np.inf]), k) for k in (1, 5, 100)] == [0.25, 0.5, 0.75]


def test_reliability_of_calibrated_and_of_overconfident_scores() -> None:
    draw = np.random.default_rng(0)
    score = draw.normal(size=50_000)
    label = draw.random(50_000) < 1 / (1 + np.exp(-score))
    assert expected_error(reliability(score, label, Calibration(1, 0))) < 0.02
    assert expected_error(reliability(score, label, Calibration(4, 0))) > 0.1


def test_chosen_users_are_of_their_kinds_and_distinct() -> None:
    results = frame(
        [2, 400, 30, 3, 900, 1],
        returning=[True, True, False, False, False, False],
        session_start=[True, True, True, False, False, False],
        hop=[1, 1, 1, 0, 0, 0],
    )
    found = chosen(results)
    assert found == {"return_found": 0, "return_missed": 1, "hop": 2, "steady": 3, "steady_missed": 4}
    results["user"] = 7
    assert len(chosen(results)) == 1
    rival = frame([2, 400, 30, 3, 900, 1000], **{})
    assert chosen(frame([2, 400, 30, 3, 900, 1]), rival)["steady"] == 5  # what the rival ranks worst


def asked_of(fit: Fit, model: str) -> Gathered:
    return gather(read_runs(fit(model)), model, Bench())


def test_weights_of_experts_add_up(fit: Fit) -> None:
    for model in ("mos", "ulim"):
        found = usage(asked_of(fit, model).asked)
        assert found is not None and found.are_shares
        assert found.weight.sum(axis=1) == pytest.approx(1, abs=1e-5)
        assert sum(found.keys.values()) <= 1 and min(found.keys.values()) > 0
    assert usage(asked_of(fit, "sasrec").asked) is None


def test_a_silenced_strand_changes_the_answer_and_comes_back(fit: Fit) -> None:
    asked = asked_of(fit, "cmsl").asked
    model = asked.model
    assert isinstance(model, Cmsl)
    piece = next(pick(asked, sample(asked, 8)))
    with torch.inference_mode():
        before = model.score_catalogue(piece.rows, piece.questions)
        with silenced(model, 0):
            without = model.score_catalogue(piece.rows, piece.questions)
        after = model.score_catalogue(piece.rows, piece.questions)
    assert torch.equal(before, after) and not torch.allclose(before[:, 2:], without[:, 2:])


def test_picked_targets_are_those_of_the_frame(fit: Fit) -> None:
    gathered = asked_of(fit, "sasrec")
    results = next(iter(gathered.entry.frames.values()))
    places = sample(gathered.asked, 50)
    pieces = list(pick(gathered.asked, places))
    at = np.concatenate([piece.at for piece in pieces])
    item = torch.cat([piece.targets.item for piece in pieces]).numpy()
    assert at.tolist() == places.tolist()
    assert item.tolist() == results["item"].to_numpy()[at].tolist()
    facts = pd.concat([piece.columns for piece in pieces])
    for mask in SLICES.values():
        assert mask(facts).tolist() == mask(results.iloc[at]).tolist()


def test_a_users_texts_are_escaped() -> None:
    evil = "<script>alert(1)</script>"
    visit = Session(1, evil, 3, [Event(60, evil, evil, evil)] * (HISTORY + 1))
    one = Person(
        "hop", evil, 100, [visit], 2, [(evil, evil)], (evil, evil), {evil: 1.0}, [(evil, evil, 0.5)], evil
    )
    section = users([one], evil)
    assert section is not None
    text = join(section.body)
    assert "<script" not in text and text.count("&lt;script&gt;") >= 10
    assert users([], "a") is None


def test_the_readme_names_the_command() -> None:
    page = Path(__file__).parents[3] / "training" / "README.md"
    assert "python -m training.report --run" in page.read_text()
