"""jobs/score_users.py: a registered model over the published sequences, against the model at hand."""

from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path

import mlflow
import numpy as np
import pytest
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from pipelines.errors import ConfigError
from pipelines.pointer import published
from pipelines.reading import read_published_table
from pipelines.score import ScoreRequest, score_users
from pipelines.warehouse import Warehouse
from training.serving.bundle import load_bundle
from training.serving.logging import log_bundle

TABLE = "scores/users"


@pytest.fixture(scope="module")
def tracking(bundle_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that holds ``mos`` as version 1, the champion, and ``popularity`` as version 2."""
    folder, before = tmp_path_factory.mktemp("registry"), mlflow.get_tracking_uri()
    uri = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    experiment = mlflow.create_experiment("scoring", artifact_location=(folder / "artifacts").as_uri())
    client = mlflow.MlflowClient()
    client.create_registered_model("next")
    for name in ("mos", "popularity"):
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


def test_an_unknown_model_is_named_with_what_to_write(warehouse: Path, tracking: str) -> None:
    for address in ("models:/next@nobody", "models:/none@champion", "models:/next/9"):
        with pytest.raises(ConfigError, match=r"not in the registry.*models:/NAME@champion"):
            score_users(ScoreRequest(str(warehouse), address, tracking=tracking))
