"""jobs/score_users.py: a registered model over the published sequences, against the model at hand."""

from collections.abc import Callable
from pathlib import Path

import deltalake
import mlflow
import numpy as np
import pandas as pd
import pytest

from pipelines.errors import ConfigError
from pipelines.pointer import published
from pipelines.reading import read_published_table
from pipelines.score import ScoreRequest, score_users
from training.serving.bundle import load_bundle
from training.serving.logging import log_bundle

TABLE = "scores/users"


@pytest.fixture(scope="module")
def tracking(bundle_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registry that holds ``mos`` as version 1, the champion, and ``popularity`` as version 2."""
    folder = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("scoring", (folder / "artifacts").as_uri()))
    client = mlflow.MlflowClient()
    client.create_registered_model("next")
    for name in ("mos", "popularity"):
        with mlflow.start_run() as run:
            info = log_bundle(bundle_of(name))
        client.create_model_version("next", info.model_uri, run.info.run_id)
    client.set_registered_model_alias("next", "champion", "1")
    return uri


def held(warehouse: Path) -> pd.DataFrame:
    table = deltalake.DeltaTable(str(warehouse / TABLE))
    return table.to_pandas().sort_values("user_id", ignore_index=True)


@pytest.mark.usefixtures("spark")
def test_a_day_holds_what_the_model_answers_and_stays_until_something_changes(
    warehouse: Path, tracking: str, bundle_of: Callable[[str], Path]
) -> None:
    pointer = published(str(warehouse))
    assert pointer is not None
    request = ScoreRequest(str(warehouse), "models:/next@champion", top_k=5, tracking=tracking)
    done = score_users(request)
    assert (done["model_version"], done["publication"]) == (1, pointer.number)

    rows = read_published_table(str(warehouse), "gold/user_sequences")
    newest = rows.to_pandas().groupby("user_id").chunk.max()
    each = zip(rows["user_id"].to_pylist(), rows["chunk"].to_pylist(), strict=True)
    last = [newest[user] == chunk for user, chunk in each]
    expected = load_bundle(bundle_of("mos")).recommend_rows(rows.filter(last), as_of=pointer.as_of, top_k=5)
    expected = expected.sort_values("user_id", ignore_index=True)
    found = held(warehouse)
    assert found.user_id.tolist() == expected.user_id.tolist() and done["users"] == len(found) == len(newest)
    assert [list(items) for items in found["items"]] == [list(items) for items in expected["items"]]
    np.testing.assert_allclose(np.vstack(found.scores), np.vstack(expected.scores), rtol=1e-6)
    assert found.as_of.unique() == [pd.Timestamp(pointer.as_of)]

    assert score_users(request)["versions"] == done["versions"], "the same day again changes nothing"
    again = score_users(ScoreRequest(**(vars(request) | {"again": True})))
    assert again["versions"][TABLE] == done["versions"][TABLE] + 1
    pd.testing.assert_frame_equal(held(warehouse), found)

    other = found.head(2).assign(day=pd.Timestamp("2020-01-01").date())
    deltalake.write_deltalake(str(warehouse / TABLE), other, mode="append", schema_mode="merge")
    score_users(ScoreRequest(str(warehouse), "models:/next/2", top_k=3, tracking=tracking))
    now = held(warehouse)
    assert (now.day == other.day.iloc[0]).sum() == 2, "other days stay"
    mine = now[now.day != other.day.iloc[0]]
    assert set(mine.model_version) == {2} and set(mine["items"].map(len)) == {3}
    assert len(mine) == len(found), "the day's rows are replaced, not added to"


def test_an_unknown_model_is_named_with_what_to_write(warehouse: Path, tracking: str) -> None:
    for address in ("models:/next@nobody", "models:/none@champion", "models:/next/9"):
        with pytest.raises(ConfigError, match=r"not in the registry.*models:/NAME@champion"):
            score_users(ScoreRequest(str(warehouse), address, tracking=tracking))
