"""Erasure of users from a small warehouse: all of it, none of others, repeatable, whatever stops it."""

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import mlflow
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import SparkSession

from pipelines.erasure import EraseRequest, erase_users
from pipelines.erasure import run as erasing
from pipelines.erasure.derived import derived_ids
from pipelines.erasure.needles import Needles
from pipelines.erasure.receipt import TABLE as ERASURES
from pipelines.erasure.scan import scan
from pipelines.errors import ConfigError, LockedError, SeqloomError
from pipelines.lock import LOCK_FILE, hold_lock
from pipelines.old_versions import delta_tables
from pipelines.pointer import require_published
from pipelines.publish import read_published, restore
from pipelines.reading import read_table
from pipelines.registered import VARIABLE
from pipelines.runs import last_runs, run_metrics
from pipelines.suppressed import KEY_FILE, KEY_VARIABLE, suppressed
from pipelines.warehouse import Warehouse
from tests.content import require_forgotten
from tests.pipelines.small_warehouse import NAMED, START, USERS, VICTIMS, files, make, rows

NOW = START + timedelta(days=40)


@pytest.fixture(scope="module")
def template(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "warehouse"
    make(spark, folder)
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path / "warehouse")
    return tmp_path / "warehouse"


@pytest.fixture
def needles(template: Path) -> Needles:
    return Needles([*VICTIMS, *derived_ids(template, VICTIMS)])


def erase(folder: Path, *users: str, **changes: Any) -> Any:
    return erase_users(EraseRequest(str(folder), list(users or VICTIMS), **({"now": NOW} | changes)))


def expected(folder: Path) -> dict[str, list[str]]:
    """The rows without those of victims."""
    owners = {name: [f"'user_id': '{user}'" for user in VICTIMS] for name in rows(folder)}
    return {
        name: [row for row in own if not any(owner in row for owner in owners[name])]
        for name, own in rows(folder).items()
    }


def places(folder: Path, needles: Needles) -> list[str]:
    return [str(place) for place in scan(folder, needles)]


def test_all_of_a_user_goes_and_nothing_of_others(
    folder: Path, needles: Needles, spark: SparkSession
) -> None:
    before, old, wanted = rows(folder), require_published(str(folder)), expected(folder)
    found = " ".join(places(folder, needles))
    for kind in ("bronze/events/", "gold/", "scores/", "events_rejected/", "ops/runs/", "reports/a.html"):
        assert kind in found
    receipt = erase(folder)
    assert receipt["proven"] and receipt["places_after"] == [] and receipt["users_found"] == len(VICTIMS)
    assert places(folder, needles) == []
    assert rows(folder) == wanted != before
    assert receipt["rows_removed"] == {
        "bronze/events": 5, "bronze/events_rejected": NAMED, "gold/user_sequences": 5, "scores/users": 3,
        "silver/sessions": 5,
    }  # fmt: skip
    new = require_published(str(folder))
    assert (new.number, new.fit_id, new.as_of) == (old.number + 1, old.fit_id, old.as_of)
    assert new.watermark == old.watermark and new.versions == {
        name: version for name, version in receipt["versions_after"].items() if name != "scores/users"
    }
    require_forgotten(folder, {name: old.versions.get(name, 0) for name in receipt["rows_removed"]})
    warehouse = Warehouse(spark, str(folder), "next")
    assert restore(warehouse, new) == []  # the next run finds the tables as published
    assert read_published(warehouse, "silver/sessions").count() == len(wanted["silver/sessions"])
    with pytest.raises(Exception, match="time travel"):
        warehouse.read("silver/sessions", old.versions["silver/sessions"]).count()


def test_payloads_records_and_documents_lose_what_names_a_user(folder: Path) -> None:
    erase(folder)
    refused = read_table(str(folder), "bronze/events_rejected").to_pylist()
    erased = [row for row in refused if row["reason"] == "erased"]
    assert len(erased) == NAMED
    assert {(row["raw"], row["layout"], row["file"]) for row in erased} == {(None, None, None)}
    kept = [row["raw"] for row in refused if row["reason"] != "erased"]
    assert sorted(kept) == ["e2,u-2", "e2,u-2", 'e3,"u-3",816']
    errors = {run.run_id: run.error for run in last_runs(str(folder), 9)}
    assert errors["bad"] == "gap of [erased]\nuser [erased] has 815 rows"
    assert (folder / "reports" / "a.html").read_text() == "<li>[erased]</li><li>u-2</li>"


def test_a_second_run_is_a_no_op(folder: Path) -> None:
    first = erase(folder)
    before = files(folder)
    again = erase(folder, now=NOW + timedelta(days=1))
    assert files(folder) == before
    assert again["erasure_id"] == first["erasure_id"] and again["rows_removed"] == first["rows_removed"]
    with pytest.raises(ConfigError, match="none of the 1 users"):
        erase(folder, "never-seen")
    assert erase(folder, "816", "never-seen")["users_found"] == 1


def test_a_dry_run_writes_nothing(folder: Path) -> None:
    before = files(folder)
    plan = erase(folder, dry_run=True)
    assert plan["rows"]["silver/sessions"] == 5 and plan["places"] > 10
    with pytest.raises(ConfigError, match="none of the 1 users"):
        erase(folder, "never-seen", dry_run=True)
    assert files(folder) == before


def test_wrong_arguments_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no user is given"):
        erase_users(EraseRequest(str(folder)))
    with pytest.raises(ConfigError, match="no such file"):
        erase_users(EraseRequest(str(folder), users=str(tmp_path / "none")))
    with pytest.raises(ConfigError, match="mount the store"):
        erase_users(EraseRequest("s3://bucket/warehouse", ["u"]))
    with hold_lock(str(folder), "other"), pytest.raises(LockedError):
        erase(folder)


@pytest.mark.parametrize(
    ("step", "call"),
    [
        pytest.param("scrub_documents", 1, marks=pytest.mark.slow),
        pytest.param("delete_users", 3, marks=pytest.mark.slow),
        pytest.param("publish_again", 1, marks=pytest.mark.slow),
        pytest.param("forget_old_versions", 3, marks=pytest.mark.slow),
        pytest.param("scan", 2, marks=pytest.mark.slow),
    ],
)
def test_an_erasure_that_was_cut_off_ends_the_same(
    step: str, call: int, folder: Path, needles: Needles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off as this call of the step begins."""
    wanted, real, calls = expected(folder), getattr(erasing, step), []

    def die(*given: Any) -> Any:
        calls.append(step)
        if len(calls) == call:
            raise KeyboardInterrupt
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(erasing, step, die)
        with pytest.raises(KeyboardInterrupt):
            erase(folder)
    assert erase(folder, now=NOW + timedelta(hours=1))["proven"]
    assert places(folder, needles) == []
    assert rows(folder) == wanted
    receipts = DeltaTable(str(folder / ERASURES)).to_pyarrow_table().to_pylist()
    assert dict(max(receipts, key=lambda row: row["at"])["rows_removed"])["silver/sessions"] == 5


def test_a_relative_folder_loses_no_other_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    wanted = expected(folder)
    assert erase(Path("warehouse"))["proven"]
    assert rows(folder) == wanted


def test_an_erasure_that_lost_its_lock_removes_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Suspended behind its publication: what belongs to no version may be another run's."""
    stored = set(folder.rglob("*.parquet"))

    def lose(*_: Any) -> None:
        (folder / LOCK_FILE).unlink()

    with monkeypatch.context() as patch:
        patch.setattr(erasing, "publish_again", lose)
        with pytest.raises(LockedError, match="this run lost its lock"):
            erase(folder)
    assert stored <= set(folder.rglob("*.parquet"))
    assert erase(folder)["proven"]


def test_what_cannot_be_cleaned_fails_the_proof(folder: Path) -> None:
    """The receipt says so, and the next run goes on from there."""
    stray = folder / "reports" / "b.parquet"
    pq.write_table(pa.table({"who": ["u-1"]}), stray)
    with pytest.raises(SeqloomError, match=r"2 places: reports/b.parquet: statistics of who \(1 id\)"):
        erase(folder, "u-1")
    assert last_runs(str(folder), 1)[0].status == "failed"
    stray.unlink()
    assert erase(folder, "u-1")["proven"]


def test_an_older_table_s_log_loses_statistics_of_ids(folder: Path) -> None:
    """It is written anew, and its log begins with that."""
    path = folder / "scores" / "users"
    table = read_table(str(folder), "scores/users")
    shutil.rmtree(path)
    write_deltalake(str(path), table)
    assert list(scan(path / "_delta_log", Needles(USERS)))
    erase(folder)
    assert sorted(read_table(str(folder), "scores/users")["user_id"].to_pylist()) == ["816", "u-2", "u-3"]
    assert not list(scan(path / "_delta_log", Needles(USERS)))


def test_no_log_keeps_statistics_of_ids(template: Path) -> None:
    everybody = Needles([*USERS, *derived_ids(template, USERS), "e2,u-2"])
    for name in delta_tables(template):
        assert not list(scan(template / name / "_delta_log", everybody)), name


def test_the_list_holds_keyed_hashes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    erase(folder, "u-1")
    found = suppressed(str(folder))
    assert found is not None and found.hashes == {found.key.hash("u-1")}
    assert oct((folder / KEY_FILE).stat().st_mode)[-3:] == "600"
    monkeypatch.setenv(KEY_VARIABLE, "another")
    with pytest.raises(SeqloomError, match="another key"):
        suppressed(str(folder))


def test_the_next_build_compares_itself_with_the_last(folder: Path) -> None:
    """Drift is measured against the run that the pointer names: the erasure carries its figures on."""
    from pipelines.runs import RunRecord, record_run

    figures = {"silver": {"users": 6}}
    done = RunRecord("run-1", "done", START, START, "{}", "", metrics=json.dumps(figures))
    record_run(str(folder), done)
    erase(folder)
    assert run_metrics(str(folder), require_published(str(folder)).run_id) == figures


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client of a registry on SQLite that an erasure knows by ``--tracking`` only."""
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    monkeypatch.delenv(VARIABLE)  # MLflow has just set it
    client = mlflow.MlflowClient(uri)
    client.create_registered_model("next-item")
    client.create_experiment("e", artifact_location=(tmp_path / "artifacts").as_uri())
    return client


def register(client: Any, folder: Path, version: int, card: str) -> None:
    """Register a model that was fitted on a publication, with a file."""
    run = client.create_run(client.get_experiment_by_name("e").experiment_id)
    client.log_text(run.info.run_id, card, "card.md")
    tags = {
        "seqloom.table": str(folder / "gold" / "user_sequences"),
        "seqloom.table_version": str(version),
        "seqloom.table_versions": json.dumps({"gold/user_sequences": version}),
        "seqloom.as_of": str(START + timedelta(days=version + 1)),
    }
    source = f"runs:/{run.info.run_id}/"
    client.create_model_version("next-item", source, run_id=run.info.run_id, tags=tags)


def tags_of(client: Any) -> dict[int, dict[str, str]]:
    return {int(one.version): one.tags for one in client.search_model_versions("name='next-item'")}


def test_models_are_tagged_and_their_files_searched(folder: Path, registry: Any) -> None:
    """The model of the first day never saw the user of the last."""
    uri = registry.tracking_uri
    register(registry, folder, 0, "for x@home")
    register(registry, folder, 1, "for 815 items")
    with pytest.raises(SeqloomError, match="models:/next-item/1"):
        erase(folder, "x@home", tracking=uri)
    tags = tags_of(registry)
    assert "erased_users" not in tags[1] and tags[2]["erased_users"] == "1"
    registry.log_text(registry.get_model_version("next-item", "1").run_id, "clean", "card.md")
    again = erase(folder, "x@home", tracking=uri)
    assert again["proven"] and again["models"] == {"models:/next-item/2": 1}
    assert erase(folder, "815", "u-1", tracking=uri)["models"] == {
        "models:/next-item/1": 2, "models:/next-item/2": 2,
    }  # fmt: skip
    tags = tags_of(registry)
    assert (tags[1]["erased_users"], tags[2]["erased_users"]) == ("2", "3") and tags[1]["erased_at"]


def test_a_later_run_tags_the_models_of_an_erasure_without_registry(
    folder: Path, registry: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also a model that is registered in between; its files are searched, and no table changes."""
    uri = registry.tracking_uri
    register(registry, folder, 0, "never saw the user")
    register(registry, folder, 1, "for x@home")
    first = erase(folder, "x@home")
    assert first["proven"] and (first["models"], first["sequence_versions"]) == ({}, {"1": 1})
    assert "a later run with --tracking tags those" in capsys.readouterr().err
    tables = {name: DeltaTable(str(folder / name)).version() for name in delta_tables(folder)}
    register(registry, folder, 1, "registered later")

    with pytest.raises(SeqloomError, match=r"2 places: models:/next-item/2, model: card\.md"):
        erase(folder, "x@home", tracking=uri)
    assert "2 models fitted on them have no tag yet" in capsys.readouterr().err
    tags = tags_of(registry)
    assert {number: own.get("erased_users") for number, own in tags.items()} == {1: None, 2: "1", 3: "1"}
    registry.log_text(registry.get_model_version("next-item", "2").run_id, "clean", "card.md")
    done = erase(folder, "x@home", tracking=uri)
    assert done["proven"] and done["models"] == {"models:/next-item/2": 1, "models:/next-item/3": 1}
    assert {key: done[key] for key in ("rows_removed", "versions_before", "versions_after")} == {
        key: first[key] for key in ("rows_removed", "versions_before", "versions_after")
    }
    after = {name: DeltaTable(str(folder / name)).version() for name in delta_tables(folder)}
    assert {name for name in tables if tables[name] != after[name]} == {"ops/erasures", "ops/runs"}
    before = files(folder)
    assert erase(folder, "x@home", tracking=uri)["run_id"] == done["run_id"]
    assert "nothing is left to do" in capsys.readouterr().err and files(folder) == before


def test_a_cut_off_erasure_without_registry_can_be_tagged_later(
    folder: Path, registry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off with the old versions gone, before its proof."""
    register(registry, folder, 1, "clean")

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(erasing, "_prove", die)
        with pytest.raises(KeyboardInterrupt):
            erase(folder, "x@home")
    again = erase(folder, "x@home", tracking=registry.tracking_uri)
    assert again["proven"] and again["models"] == {"models:/next-item/1": 1}
    assert tags_of(registry)[1]["erased_users"] == "1"


def test_receipts_of_before_they_kept_versions_are_read(folder: Path) -> None:
    """The table has no such column; the next receipt brings it."""
    from pipelines.erasure.receipt import Receipt, last_receipt, write_receipt

    old = Receipt("one", "run-1", "done", NOW, ["hash"], 1, rows_removed={"bronze/events": 2}, proven=True)
    write_receipt(str(folder), old)
    path = str(folder / ERASURES)
    rows = DeltaTable(path).to_pyarrow_table().drop_columns("sequence_versions")
    shutil.rmtree(path)
    write_deltalake(path, rows)
    assert last_receipt(str(folder), "one") == old
    new = replace(old, run_id="run-2", at=NOW + timedelta(days=1), sequence_versions={3: 1})
    write_receipt(str(folder), new)
    assert last_receipt(str(folder), "one") == new
