"""Theme ids over refits."""

import numpy as np
import pytest
from scipy.stats import special_ortho_group

from features.vectors import VectorTable, unit
from pipelines.fit.learning import learn
from pipelines.fit.refit import carry_over, match_themes, shared_rows
from tests.pipelines.fit_data import AS_GIVEN, SMALL, themed_events, to_spark

AXES = np.eye(4)
IDS = np.array([2, 5, 7], dtype=np.int32)


def towards(first: int, second: int, share: float) -> np.ndarray:
    return unit((1 - share) * AXES[first] + share * AXES[second])


@pytest.mark.parametrize(
    ("number", "new", "ids"),
    [
        (1, [AXES[2], AXES[0], AXES[1]], [7, 2, 5]),  # only the order differs
        (2, [towards(2, 3, 0.3), AXES[0], AXES[1]], [7, 2, 5]),  # theme 7 moved a little
        (3, [towards(2, 3, 0.7), AXES[0], AXES[1]], [10, 2, 5]),  # it moved too far: another theme
        (4, [AXES[0], AXES[1]], [2, 5]),  # theme 7 ended
        (5, [AXES[3], AXES[0], AXES[1], AXES[2]], [10, 2, 5, 7]),  # one more; 8 and 9 were used before
        (6, [towards(0, 1, 0.1), towards(0, 1, 0.3)], [2, 10]),  # theme 2 parted: the nearer half is it
    ],
)
def test_ids_go_to_continuations(number, new, ids):
    found, kept = match_themes(AXES[:3], IDS, np.stack(new), last_used=9)
    assert found.tolist() == ids, number
    assert set(kept) == {theme for theme in ids if theme < 10}


def test_a_first_theme_after_none():
    found, kept = match_themes(AXES[:0], IDS[:0], AXES[:2], last_used=1)
    assert found.tolist() == [2, 3]
    assert kept == {}


@pytest.mark.parametrize("width", [6, 4, 9])
def test_old_centroids_are_carried_into_the_new_space(width):
    """The new space is the old one, rotated; narrower and wider spaces hold the same directions."""
    rng = np.random.default_rng(1)
    old = np.zeros((50, 6))
    old[:, :4] = rng.normal(size=(50, 4))  # four dimensions matter
    rotation = np.eye(max(6, width))
    rotation[:4, :4] = special_ortho_group.rvs(4, random_state=1)
    new = (np.pad(old, ((0, 0), (0, max(0, width - 6)))) @ rotation)[:, :width]
    centroids = np.zeros((3, 6))
    centroids[:, :4] = unit(rng.normal(size=(3, 4)))
    expected = (np.pad(centroids, ((0, 0), (0, max(0, width - 6)))) @ rotation)[:, :width]
    assert carry_over(centroids, old, new) == pytest.approx(expected, abs=1e-3)


def test_shared_rows_are_those_of_both_tables():
    def table(items, categories):
        vectors = unit(np.random.default_rng(0).normal(size=(len(items) + len(categories), 3)))
        return VectorTable.build(
            np.array(items, np.int32),
            vectors[: len(items)],
            np.array(categories, np.int32),
            vectors[len(items) :],
        )

    one, other = table([2, 3, 9], [2]), table([3, 4], [2, 3])
    old, new = shared_rows(one, other)
    assert (old == one.vectors[[one.category_row[2], one.item_row[3]]]).all()
    assert (new == other.vectors[[other.category_row[2], other.item_row[3]]]).all()


def test_themes_keep_their_ids_over_a_refit(spark):
    """The second fit sees more users, some other items, and has a basis and cluster order of its own."""
    before = learn(to_spark(spark, themed_events(users=50, seed=1).table), AS_GIVEN, SMALL)
    later = themed_events(users=80, seed=2).table
    plain = learn(to_spark(spark, later), AS_GIVEN, SMALL)
    after = learn(to_spark(spark, later), AS_GIVEN, SMALL, previous=before)
    meaning = {
        theme.theme_id: (theme.top_categories[0][0] - 2) // 3 for theme in before.themes
    }  # true theme of its best category
    assert {theme.theme_id: (theme.top_categories[0][0] - 2) // 3 for theme in after.themes} == meaning
    assert {theme.theme_id: (theme.top_categories[0][0] - 2) // 3 for theme in plain.themes} != meaning
    assert after.drift.previous_fit == before.fit_id
    assert set(after.drift.kept) == {2, 3, 4, 5}
    assert min(after.drift.kept.values()) > 0.9
    assert after.drift.born == after.drift.ended == ()
    assert after.drift.changed_share < 0.05
    assert after.last_theme_id == 5
