"""jobs/score_users.py: a registered model over the published sequences, against the model at hand."""

from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import faiss
import mlflow
import numpy as np
import pytest
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from pipelines.errors import ConfigError
from pipelines.pointer import published
from pipelines.reading import read_published_table
from pipelines.score import ScoreRequest, score_users
from pipelines.score.embeddings import ITEMS, USERS
from pipelines.warehouse import Warehouse
from training.serving.bundle import load_bundle
from training.serving.logging import log_bundle

TABLE = "scores/users"


@pytest.fixture(scope="module")
def tracking(bundle_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry of ``mos`` as version 1, the champion, ``popularity`` as 2 and ``sasrec`` as 3."""
    folder, before = tmp_path_factory.mktemp("registry"), mlflow.get_tracking_uri()
    uri = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    experiment = mlflow.create_experiment("scoring", artifact_location=(folder / "artifacts").as_uri())
    client = mlflow.MlflowClient()
    client.create_registered_model("next")
    for name in ("mos", "popularity", "sasrec"):
        with mlflow.start_run(experiment_id=experiment) as run:
            info = log_bundle(bundle_of(name))
        client.create_model_version("next", info.model_uri, run.info.run_id)
    client.set_registered_model_alias("next", "champion", "1")
    yield uri
    mlflow.set_tracking_uri(before)


def test_a_day_holds_what_the_model_answers_and_stays_until_something_changes(
    warehouse: Path, tracking: str, bundle_of: Callable[[str], Path], spark: SparkSession
) -> None:
    pointer = published(str(warehouse))
    assert pointer is not None
    table = Warehouse(spark, str(warehouse))

    def held(day: str | None = None) -> list[Row]:
        rows = table.read(TABLE).orderBy("user_id")
        return (rows.where(F.col("day") == day) if day else rows).collect()

    request = ScoreRequest(str(warehouse), "models:/next@champion", top_k=5, tracking=tracking)
    done = score_users(request)
    assert (done["model_version"], done["publication"]) == (1, pointer.number)

    rows = read_published_table(str(warehouse), "gold/user_sequences")
    newest = rows.to_pandas().groupby("user_id").chunk.max()
    each = zip(rows["user_id"].to_pylist(), rows["chunk"].to_pylist(), strict=True)
    last = [newest[user] == chunk for user, chunk in each]
    expected = load_bundle(bundle_of("mos")).recommend_rows(rows.filter(last), as_of=pointer.as_of, top_k=5)
    expected = expected.sort_values("user_id", ignore_index=True)
    found = held()
    assert [row.user_id for row in found] == expected.user_id.tolist()
    assert done["users"] == len(found) == len(newest)
    assert [row["items"] for row in found] == [list(items) for items in expected["items"]]
    np.testing.assert_allclose([row.scores for row in found], np.vstack(expected.scores), rtol=1e-6)
    assert {row.as_of.replace(tzinfo=UTC) for row in found} == {pointer.as_of}

    assert score_users(request)["versions"] == done["versions"], "the same day again changes nothing"
    again = score_users(ScoreRequest(**(vars(request) | {"again": True})))
    assert again["versions"][TABLE] == done["versions"][TABLE] + 1
    assert held() == found

    earlier = table.read(TABLE).limit(2).withColumn("day", F.lit("2020-01-01").cast("date"))
    table.append(earlier, TABLE)
    score_users(ScoreRequest(str(warehouse), "models:/next/2", top_k=3, tracking=tracking))
    assert len(held("2020-01-01")) == 2, "other days stay"
    now = held(done["day"])
    assert {(row.model_version, len(row["items"])) for row in now} == {(2, 3)}
    assert len(now) == len(found), "the day's rows are replaced, not added to"


Export = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def export(warehouse: Path, tracking: str, spark: SparkSession) -> Export:
    """The job with embeddings, by the model's address."""

    def run(model: str) -> dict[str, Any]:
        return dict(score_users(ScoreRequest(str(warehouse), model, embeddings=True, tracking=tracking)))

    return run


@pytest.fixture(scope="module")
def champions(export: Export) -> dict[str, Any]:
    """The summary of the champion's export."""
    return export("models:/next@champion")


def exported(table: Warehouse, done: dict[str, Any]) -> tuple[list[Row], list[Row], dict[str, Row]]:
    """Rows of the day, users and items with vectors, and scores by user."""
    scores, users, items = (
        table.read(name).where(F.col("day") == done["day"]).orderBy(key).collect()
        for name, key in ((TABLE, "user_id"), (USERS, "user_id"), (ITEMS, "item_id"))
    )
    for row in (*users, *items):
        assert (row.model, row.model_version) == ("next", done["model_version"])
        assert row.publication == done["publication"]
        assert row.as_of.replace(tzinfo=UTC).isoformat() == done["as_of"]
    assert [row.user_id for row in users] == [row.user_id for row in scores]
    assert (len(users), len(items)) == (done["users"], done["items"])
    return users, items, {row.user_id: row for row in scores}


def test_searches_by_the_experts_vectors_add_up_to_the_scores(
    warehouse: Path, champions: dict[str, Any], spark: SparkSession
) -> None:
    users, items, scores = exported(Warehouse(spark, str(warehouse)), champions)
    index, ids = indexed(items)
    for row in users:
        assert len(row.vectors) > 1
        share = np.zeros(len(ids))
        for each in row.vectors:
            assert each.category_id is None
            inner, found = index.search(np.array([each.vector], np.float32), len(ids))
            odds = np.exp(inner[0].astype(float))
            share[found[0]] += each.weight * odds / odds.sum()
        best = np.argsort(-share)[:10]
        assert [ids[at] for at in best] == scores[row.user_id]["items"]
        np.testing.assert_allclose(np.log(share[best]), scores[row.user_id].scores, rtol=1e-5, atol=1e-5)


def test_the_same_export_again_changes_nothing(export: Export, champions: dict[str, Any]) -> None:
    assert export("models:/next@champion")["versions"] == champions["versions"]


def test_another_version_replaces_the_vectors_and_an_index_finds_its_best_items(
    warehouse: Path, export: Export, champions: dict[str, Any], spark: SparkSession
) -> None:
    done = export("models:/next/3")
    assert done["versions"] == {name: version + 1 for name, version in champions["versions"].items()}
    users, items, scores = exported(Warehouse(spark, str(warehouse)), done)
    index, ids = indexed(items)
    inner, found = index.search(np.array([row.vectors[0].vector for row in users], np.float32), 10)
    for at, row in enumerate(users):
        assert [len(row.vectors), row.vectors[0].weight, row.vectors[0].category_id] == [1, 1.0, None]
        assert [ids[item] for item in found[at]] == scores[row.user_id]["items"]
        np.testing.assert_allclose(inner[at], scores[row.user_id].scores, rtol=1e-5, atol=1e-5)


def indexed(items: list[Row]) -> tuple[Any, list[str]]:
    """An index over the exported items, and the id of each of its places."""
    vectors = np.array([row.vector for row in items], np.float32)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index, [row.item_id for row in items]


def test_a_model_without_vectors_is_refused_before_spark_starts(
    warehouse: Path, tracking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.score.run.start_spark", lambda name: pytest.fail("Spark was started"))
    with pytest.raises(
        ConfigError, match=r"models:/next/2 .*popularity has no vectors.*leave --embeddings out"
    ):
        score_users(ScoreRequest(str(warehouse), "models:/next/2", embeddings=True, tracking=tracking))


def test_an_unknown_model_is_named_with_what_to_write(warehouse: Path, tracking: str) -> None:
    for address in ("models:/next@nobody", "models:/none@champion", "models:/next/9"):
        with pytest.raises(ConfigError, match=r"not in the registry.*models:/NAME@champion"):
            score_users(ScoreRequest(str(warehouse), address, tracking=tracking))
