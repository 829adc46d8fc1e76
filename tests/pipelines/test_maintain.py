"""Upkeep: rows stay, files become few, and no version goes that a publication or a model names."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import mlflow
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from pipelines.delta_files import data_files
from pipelines.errors import ConfigError, LockedError
from pipelines.lock import LOCK_FILE, hold_lock
from pipelines.maintenance import MaintainRequest, maintain_tables
from pipelines.pointer import published, require_published
from pipelines.publish import publish, restore, table_versions
from pipelines.registered import models_of
from pipelines.warehouse import LOG_RETENTION, Warehouse
from tests.pipelines.small_warehouse import day, files, make, pointer, rows

GOLD = "gold/user_sequences"
LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture(scope="module")
def template(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four publications of the sequences: two days appended, a user deleted, another day appended."""
    folder = tmp_path_factory.mktemp("template") / "warehouse"
    make(spark, folder)
    for number in (2, 3):
        warehouse = Warehouse(spark, str(folder), f"run-{number}")
        if number == 2:
            keys = spark.createDataFrame([("u-2",)], "user_id string")
            warehouse.delete(GOLD, keys, "t.user_id = k.user_id")
        else:
            warehouse.append(day(spark, 3)[GOLD].coalesce(1), GOLD, partition_by=("length_bucket",))
        warehouse.append(day(spark, 1)["silver/sessions"].limit(1), "silver/sessions")
        publish(warehouse, pointer(number, table_versions(warehouse)), published(str(folder)))
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path / "warehouse")
    return tmp_path / "warehouse"


def maintain(folder: Path, **changes: Any) -> Any:
    return maintain_tables(MaintainRequest(str(folder), **({"now": LATER, "keep_days": 0} | changes)))


def register(folder: Path, place: Path, version: int, **changed: str) -> str:
    """A registry with a model that was fitted on a version of the sequences; ``changed`` are tags."""
    uri = f"sqlite:///{place}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient(uri)
    client.create_registered_model("next-item")
    tags = {
        "seqloom.table": str(folder / GOLD),
        "seqloom.table_version": str(version),
        "seqloom.table_versions": json.dumps({GOLD: version, "silver/sessions": 1}),
        **{f"seqloom.{name}": value for name, value in changed.items()},
    }
    client.create_model_version("next-item", "somewhere", tags=tags)
    return uri


def readable(folder: Path, version: int) -> bool:
    try:
        table = DeltaTable(str(folder / GOLD), version=version)
    except Exception:  # its log is gone
        return False
    return all(Path(file).exists() for file in data_files(table, str(folder / GOLD)))


def test_a_dry_run_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(folder)
    told = maintain(folder)
    assert files(folder) == before and not told["applied"]
    assert told["before"][GOLD]["small_files"] >= 2 and GOLD in capsys.readouterr().err


def test_pinned_versions_stay_and_others_go(folder: Path, tmp_path: Path, spark: SparkSession) -> None:
    uri = register(folder, tmp_path, 1)
    before, old = rows(folder), require_published(str(folder))
    assert [readable(folder, version) for version in range(4)] == [True] * 4
    told = maintain(folder, tracking=uri, apply=True)
    assert GOLD in told["compacted"] and "ops/runs" not in told["compacted"]
    assert rows(folder) == before
    new = require_published(str(folder))
    assert new.number == old.number + 1 and (new.fit_id, new.as_of) == (old.fit_id, old.as_of)
    assert readable(folder, 1) and not readable(folder, 2) and readable(folder, new.versions[GOLD])
    assert told["after"][GOLD]["files"] < told["before"][GOLD]["files"]
    assert told["after"][GOLD]["removable_files"] == 0
    assert len(DeltaTable(str(folder / "ops" / "published")).file_uris()) == 2  # compacted, and its own
    assert restore(Warehouse(spark, str(folder), "next"), new) == []
    again = maintain(folder, tracking=uri, apply=True, now=LATER + timedelta(hours=1))
    assert require_published(str(folder)).number == new.number  # nothing was left to put together
    assert again["after"][GOLD] == told["after"][GOLD]


def test_a_model_is_ours_however_training_named_the_table(folder: Path, tmp_path: Path) -> None:
    """By the table's id; without one by the path, or by the end of it where it was relative."""
    uri = register(folder, tmp_path, 1)
    client, own = mlflow.MlflowClient(uri), str(DeltaTable(str(folder / GOLD)).metadata().id)

    def ours(**tags: str) -> bool:
        for name, value in tags.items():
            client.set_model_version_tag("next-item", "1", f"seqloom.{name}", value)
        return len(list(models_of(str(folder), client))) == 1

    assert ours() and ours(table=f"warehouse/{GOLD}") and ours(table=f"{tmp_path}/x/../warehouse/{GOLD}")
    assert not ours(table=f"house/{GOLD}") and not ours(table=f"/mnt/{GOLD}")
    assert ours(table_id=own)
    assert not ours(table_id="another", table=str(folder / GOLD))


def test_a_relative_folder_loses_no_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    before, uri = rows(folder), register(folder, folder.parent, 1)
    maintain(Path("warehouse"), tracking=uri, apply=True)
    assert rows(folder) == before and readable(folder, 1) and not readable(folder, 2)


def test_a_run_that_lost_its_lock_removes_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Suspended behind its last publication: another run works meanwhile."""
    uri = register(folder, tmp_path, 1)

    def lose(*_: Any) -> None:
        (folder / LOCK_FILE).unlink()

    monkeypatch.setattr("pipelines.maintenance.run.publish_again", lose)
    stored = set(folder.rglob("*.parquet"))
    with pytest.raises(LockedError, match="this run lost its lock"):
        maintain(folder, tracking=uri, apply=True)
    assert stored <= set(folder.rglob("*.parquet"))


def test_without_a_registry_every_publication_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    maintain(folder, apply=True)
    assert [readable(folder, version) for version in range(4)] == [True] * 4


def test_recent_publications_stay(folder: Path, tmp_path: Path) -> None:
    """A publication stays for the days since a newer one took its place."""
    uri = register(folder, tmp_path, 0)
    third = require_published(str(folder)).published_at
    maintain(folder, tracking=uri, apply=True, now=third + timedelta(days=2), keep_days=2.5)
    assert [readable(folder, version) for version in range(4)] == [True, True, True, True]
    maintain(folder, tracking=uri, apply=True, now=LATER, keep_days=0)
    assert [readable(folder, version) for version in range(4)] == [True, False, False, False]


def test_an_older_table_keeps_its_log_from_now_on(folder: Path, spark: SparkSession) -> None:
    path = folder / "silver" / "items"
    spark.sql(f"ALTER TABLE delta.`{path}` UNSET TBLPROPERTIES ('delta.logRetentionDuration')")
    pointer_now = require_published(str(folder))
    warehouse = Warehouse(spark, str(folder), "r")
    versions = table_versions(warehouse)
    assert versions != pointer_now.versions
    maintain(folder, apply=True)  # the commit above was nobody's: it is undone first
    assert LOG_RETENTION.items() <= DeltaTable(str(path)).metadata().configuration.items()


def test_wrong_arguments_and_a_held_lock(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        maintain(tmp_path / "none")
    with pytest.raises(ConfigError, match="--keep-days"):
        maintain(folder, keep_days=-1)
    with hold_lock(str(folder), "other"), pytest.raises(LockedError):
        maintain(folder, apply=True)
