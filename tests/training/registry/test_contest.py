"""The window that is new to every contestant, and answers that pair up however long the rows are."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.registry.conftest import SASREC, Fit
from training.errors import DataError
from training.evaluate.compare import KEY, differences
from training.fit.fitted import load_fitted
from training.registry.contest import ask, deciding, instant_of, open_window
from training.registry.finished import read_finished
from training.registry.restore import Contestant
from training.source import RowSource


def contestant(folder: Path, label: str) -> Contestant:
    run, fitted = read_finished(folder), load_fitted(folder)
    return Contestant(label, fitted.model, fitted.vocabulary, run.config, run.origin)


def test_the_window_begins_where_the_last_contestant_was_chosen(fit: Fit, warehouse: Path) -> None:
    early, late = contestant(fit(), "a"), contestant(fit(SASREC, "data.valid_end=1970-01-01T00:01:45Z"), "b")
    for asked in ([early, late], [late, early]):
        table, window = open_window(str(warehouse), asked)
        assert (window.start, window.end) == ("1970-01-01T00:01:45+00:00", "1970-01-02T00:00:41+00:00")
        assert (window.publication, window.table_version) == (0, table.version)
    splits = dict(early.origin["splits"]) | {"valid_end": "1970-01-01T00:00:20+00:00"}
    before_the_fit = replace(early, origin=dict(early.origin) | {"splits": splits})
    _, window = open_window(str(warehouse), [before_the_fit])
    assert window.start == "1970-01-01T00:00:40+00:00"  # the publication's themes have seen what lies before
    splits["valid_end"] = "1970-01-03T00:00:00+00:00"
    with pytest.raises(DataError, match="models have learned or been chosen up to 1970-01-03"):
        open_window(str(warehouse), [late, replace(early, origin=dict(early.origin) | {"splits": splits})])


def test_rows_of_any_length_give_targets_that_pair_up(fit: Fit, warehouse: Path) -> None:
    """Windows of long rows differ with the length; a target's key does not."""
    short, long = contestant(fit(), "short"), contestant(fit(SASREC, "data.max_length=64"), "long")
    table, window = open_window(str(warehouse), [short, long])
    ours, theirs = ask(table, window, [short, long], 10_000)
    assert (ours.frame[KEY] == theirs.frame[KEY]).all(axis=None)
    assert not ours.frame.duplicated(KEY).any() and (ours.frame["place"] > 0).any()
    paired = differences({0: ours.frame}, {0: theirs.frame}, "ndcg_50")
    expected = ours.summary["all"]["ndcg_50"] - theirs.summary["all"]["ndcg_50"]
    assert paired.difference.mean() == pytest.approx(expected)
    source = RowSource.of_table(table, short.vocabulary)
    held = sum(int(batch.rows.loss_mask.sum()) for batch in source.batches(window.split))
    assert len(ours.frame) == held and (ours.frame["ts"] >= instant_of(window.start)).all()


def test_a_few_targets_are_whole_users_and_the_same_for_all(fit: Fit, warehouse: Path) -> None:
    short, long = contestant(fit(), "short"), contestant(fit(SASREC, "data.max_length=64"), "long")
    table, window = open_window(str(warehouse), [short, long])
    every, _ = ask(table, window, [short, long], 10_000)
    few, other = ask(table, window, [short, long], 100)
    assert (few.frame[KEY] == other.frame[KEY]).all(axis=None) and 0 < len(few.frame) <= 100
    per_user = every.frame.groupby("user").size()
    assert few.frame.groupby("user").size().to_dict().items() <= per_user.to_dict().items()


def test_a_model_that_ranks_candidates_makes_all_rank_candidates(fit: Fit, warehouse: Path) -> None:
    click, whole = contestant(fit("name = 'din'\ndim = 8\nheads = 1"), "din"), contestant(fit(), "sasrec")
    assert deciding([whole.config, click.config]) == "auc" and deciding([whole.config]) == "ndcg_10"
    table, window = open_window(str(warehouse), [whole, click])
    ours, theirs = ask(table, window, [whole, click], 500)
    assert "rank" not in ours.frame and (ours.frame[KEY] == theirs.frame[KEY]).all(axis=None)
    assert differences({0: ours.frame}, {0: theirs.frame}, "auc").difference.any()
