"""A whole fit: themes found, repeatable, blind to the future, stored and read back."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn.metrics import adjusted_rand_score

from features.codes import NO_THEME
from features.themes import nearest_theme, session_sums
from pipelines.errors import WarehouseError
from pipelines.fit.hop_null import learn_hop_null
from pipelines.fit.learning import learn
from pipelines.fit.stream import BUCKETS, narrow_events
from pipelines.fit.tables import FIT_TABLES, fit_rows, load_fit
from pipelines.warehouse import Warehouse
from tests.pipelines.fit_data import AS_GIVEN, DAY_US, SMALL, Events, themed_events, to_spark

TRAIN_END = 9 * DAY_US  # of ten days


@pytest.fixture(scope="module")
def events() -> Events:
    return themed_events()


@pytest.fixture(scope="module")
def fit(spark, events):
    return learn(to_spark(spark, events.table, 2), AS_GIVEN, SMALL, TRAIN_END)


def with_embeddings(**changes):
    return replace(SMALL, embeddings=replace(SMALL.embeddings, **changes))


def theme_ari(fit, events: Events) -> float:
    """Agreement of themes with the truth over all sessions, those after train_end included."""
    item, category = (events.table.column(name).to_numpy() for name in ("item", "category"))
    rows, _ = fit.table.lookup(item, category)
    session, ordinal = (events.table.column(name).to_numpy() for name in ("session", "ordinal"))
    starts = np.flatnonzero((np.diff(session, prepend=0) != 0) | (ordinal == 1))
    themes = nearest_theme(session_sums(fit.table.vectors, rows, starts), fit.centroids, fit.theme_ids)
    assert len(themes) == len(events.theme)
    return adjusted_rand_score(list(events.theme.values()), themes)


def test_themes_are_found_and_described(fit, events):
    assert theme_ari(fit, events) > 0.9
    assert fit.theme_ids.tolist() == [2, 3, 4, 5]
    assert fit.last_theme_id == 5
    assert sum(theme.sessions for theme in fit.themes) == fit.sizes["theme_sessions"]
    assert sum(theme.share for theme in fit.themes) == pytest.approx(1.0)
    assert fit.silhouette > 0.3
    support = [theme.sessions for theme in fit.themes]
    assert support == sorted(support, reverse=True)
    for theme in fit.themes:
        true_themes = {(index - 2) // 3 for index, _ in theme.top_categories[:3]}
        assert len(true_themes) == 1  # the three categories of one true theme come first
        scores = [score for _, score in theme.top_items]
        assert scores == sorted(scores, reverse=True)
        assert {(index - 2) // 30 for index, _ in theme.top_items[:5]} == true_themes


def test_the_hop_null_holds_windows_of_long_sessions_only(fit):
    assert fit.hop_null.sizes()[0] >= 200  # 1|1
    assert fit.hop_null.sizes()[15] == 0  # 5-8|5-8 needs 16 events, sessions have at most 8
    assert fit.fitted.alpha == SMALL.hops.alpha


def test_the_null_comes_from_users_that_taught_the_vectors_nothing(spark, fit, events):
    narrow = narrow_events(to_spark(spark, events.table), AS_GIVEN, TRAIN_END)
    every = learn_hop_null(narrow, fit.table, BUCKETS, 20_000, learned=False)
    held = learn_hop_null(narrow, fit.table, BUCKETS, 20_000, learned=True)
    assert (held.distance == fit.hop_null.distance).all()
    assert 0.15 < held.sizes()[0] / every.sizes()[0] < 0.35  # one user in four
    assert set(held.distance) < set(every.distance)
    assert held.distance.mean() > every.distance.mean()  # the taught three quarters look nearer


def test_any_partitioning_gives_the_same_fit(spark, fit, events):
    assert learn(to_spark(spark, events.table, 7), AS_GIVEN, SMALL, TRAIN_END).fit_id == fit.fit_id


@pytest.mark.slow
def test_another_number_of_cores_gives_the_same_fit(fit):
    script = (
        "from pipelines.spark import start_spark\n"
        "from pipelines.fit.learning import learn\n"
        "from tests.pipelines.fit_data import *\n"
        "spark = start_spark('one core', {'spark.master': 'local[1]', 'spark.driver.memory': '1g',\n"
        "                                 'spark.sql.shuffle.partitions': '3'})\n"
        f"fit = learn(to_spark(spark, themed_events().table, 5), AS_GIVEN, SMALL, {TRAIN_END})\n"
        "print(fit.fit_id)\n"
    )
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    for inherited in ("PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET"):
        environment.pop(inherited, None)
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split()[-1] == fit.fit_id


def test_nothing_from_train_end_on_matters(spark, fit, events):
    """1 later events change; 2 some are dropped; 3 new users, items and categories come."""
    table = events.table
    later = pc.greater_equal(table.column("ts"), TRAIN_END)
    early = table.filter(pc.invert(later))
    changed = table.filter(later).slice(50)
    changed = changed.set_column(
        3, "item", pa.array(np.full(changed.num_rows, 777, dtype=np.int32))
    ).set_column(4, "category", pa.array(np.full(changed.num_rows, 99, dtype=np.int32)))
    stranger = changed.slice(0, 3).set_column(0, "user_id", pa.array(["zz"] * 3))
    other = pa.concat_tables([early, changed, stranger])
    again = learn(to_spark(spark, other, 2), AS_GIVEN, SMALL, TRAIN_END)
    assert again.fit_id == fit.fit_id
    assert again.themes == fit.themes
    rows, source = again.table.lookup(np.array([777, 777], np.int32), np.array([99, 2], np.int32))
    assert source.tolist() == [0, 2]  # an unseen category has nothing, a known one lends its vector
    assert again.table.vectors[rows[1]].any()


def test_a_tail_is_folded_in_by_spark_and_the_number_of_themes_is_found(spark, events):
    options = replace(
        with_embeddings(max_items=30), themes=replace(SMALL.themes, count="auto", candidates=(2, 3, 4, 6, 8))
    )
    fit = learn(to_spark(spark, events.table, 3), AS_GIVEN, options, TRAIN_END)
    assert fit.sizes["items_with_vector"] > 100  # of 120 items, 30 of which are the head
    assert theme_ari(fit, events) > 0.9
    assert len(fit.themes) == 4
    assert max(fit.counts_tried, key=fit.counts_tried.get) == 4


def test_items_too_rare_for_a_vector_take_their_category(spark, events):
    fit = learn(to_spark(spark, events.table, 2), AS_GIVEN, with_embeddings(min_count=1_000_000), TRAIN_END)
    assert not fit.table.item_row.any()
    assert (fit.table.category_row > 0).sum() == 12
    assert theme_ari(fit, events) > 0.9


@pytest.mark.parametrize("method", ["word2vec", "category"])
def test_other_methods_repeat_over_partitions(spark, events, method):
    options = with_embeddings(method=method)
    first, second = (
        learn(to_spark(spark, events.table, number), AS_GIVEN, options, TRAIN_END) for number in (2, 5)
    )
    assert first.fit_id == second.fit_id
    if method == "category":
        assert theme_ari(first, events) > 0.8
        assert not first.table.item_row.any()
    else:  # skip-gram learns little from 600 sessions; that it separates themes is the benchmark's matter
        assert first.sizes["items_with_vector"] > 100


def test_events_without_any_neighbours_give_a_fit_without_themes(spark, events):
    lone = events.table.filter(pc.equal(events.table.column("ordinal"), 1))
    lone = lone.set_column(4, "category", pa.array(np.ones(lone.num_rows, dtype=np.int32)))
    fit = learn(to_spark(spark, lone, 2), AS_GIVEN, SMALL, None)
    assert len(fit.themes) == 0
    assert fit.silhouette is None
    none = nearest_theme(np.zeros((1, fit.table.dim)), fit.centroids, fit.theme_ids)
    assert none.tolist() == [NO_THEME]
    assert fit.fitted.hop_null.sizes().sum() == 0


def test_a_fit_survives_its_tables(spark, fit, tmp_path):
    warehouse = Warehouse(spark, str(tmp_path), "run-1")
    for name, rows in fit_rows(fit, run_id="run-1").items():
        warehouse.append_arrow(rows, name)

    def read(name):
        return spark.read.format("delta").load(str(tmp_path / name))

    back = load_fit(read, fit.fit_id)
    assert back.fit_id == fit.fit_id
    assert back.themes == fit.themes
    assert back.train_end == TRAIN_END
    assert back.options == fit.options
    assert back.sizes == fit.sizes
    assert set(FIT_TABLES) == {str(path.relative_to(tmp_path)) for path in tmp_path.glob("silver/*")}
    row = read("silver/fits").first()
    assert (row.run_id, row.themes) == ("run-1", 4)
    assert row.train_end.timestamp() * 1_000_000 == TRAIN_END
    counted = read("silver/frequencies").where("kind = 'item'").groupBy().sum("count").first()[0]
    assert counted == fit.sizes["events"]
    with pytest.raises(WarehouseError, match="holds no fit 0000"):
        load_fit(read, "0000")

    def read_less(name):
        return read(name).where("index <> 5") if name == "silver/item_vectors" else read(name)

    with pytest.raises(WarehouseError, match="not what was learned"):
        load_fit(read_less, fit.fit_id)
