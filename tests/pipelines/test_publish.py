"""One pointer: readers see a whole run or nothing of it, and a died run leaves nothing behind."""

import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from features.spec import SequenceSpec
from pipelines.errors import SeqloomError, WarehouseError
from pipelines.pointer import Published, move_pointer, published, require_published
from pipelines.publish import publish, read_published, restore, table_versions
from pipelines.warehouse import Warehouse

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def pointer(run_id: str, versions: dict[str, int], **changes: Any) -> Published:
    plain: dict[str, Any] = {
        "run_id": run_id,
        "published_at": NOON,
        "as_of": NOON - timedelta(microseconds=1),
        "fit_id": "fit-1",
        "versions": versions,
        "config_fingerprint": "0123456789abcdef",
        "settings": "{}",
        "spec": SequenceSpec().to_json(),
    }
    return Published(**(plain | changes))


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "warehouse")


@pytest.fixture(scope="module")
def template(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with two tables, published by run-1; copied for each test, since that is cheap."""
    folder = tmp_path_factory.mktemp("template") / "warehouse"
    warehouse = Warehouse(spark, str(folder), "run-1")
    warehouse.append(numbers(spark, 1, 2), "bronze/events")
    warehouse.append(numbers(spark, 10), "gold/user_sequences")
    publish(warehouse, pointer("run-1", table_versions(warehouse)), None)
    return folder


@pytest.fixture
def before(template: Path, root: str) -> Published:
    """The pointer of a fresh copy of the template at ``root``."""
    shutil.copytree(template, root)
    return require_published(root)


def numbers(spark: SparkSession, *values: int) -> DataFrame:
    rows = ", ".join(f"({value})" for value in values)
    return spark.sql(f"SELECT CAST(col1 AS INT) AS n FROM VALUES {rows}").coalesce(1)


def read(frame: DataFrame) -> list[int]:
    return sorted(row[0] for row in frame.collect())


def test_a_pointer_comes_back_as_it_was_written(spark: SparkSession, root: str) -> None:
    assert published(root) is None
    written = move_pointer(root, pointer("run-1", {"bronze/events": 4, "silver/items": 0}), None)
    assert published(root) == written
    assert written.versions == {"bronze/events": 4, "silver/items": 0}
    assert SequenceSpec.from_json(written.spec) == SequenceSpec()
    spark_row = spark.read.format("delta").load(f"{root}/ops/published").first()
    assert spark_row is not None and spark_row["versions"] == written.versions


def test_readers_keep_the_published_version_while_a_run_writes(
    spark: SparkSession, root: str, before: Published
) -> None:
    later = Warehouse(spark, root, "run-2")
    later.append(numbers(spark, 3), "bronze/events")
    assert read(read_published(later, "bronze/events")) == [1, 2]
    assert read(later.read("bronze/events")) == [1, 2, 3]
    publish(later, pointer("run-2", table_versions(later)), before)
    assert read(read_published(later, "bronze/events")) == [1, 2, 3]
    assert read(read_published(later, "bronze/events", before)) == [1, 2]
    assert require_published(root).number == 1


def test_a_reader_without_a_pointer_is_told_what_to_do(spark: SparkSession, root: str) -> None:
    warehouse = Warehouse(spark, root, "run-1")
    with pytest.raises(WarehouseError, match=r"nothing is published here yet; run jobs/build_sequences\.py"):
        read_published(warehouse, "silver/sessions")


def test_a_reader_of_a_table_that_is_not_published_is_told_which_are(
    spark: SparkSession, root: str, before: Published
) -> None:
    warehouse = Warehouse(spark, root)
    with pytest.raises(WarehouseError, match=r"silver/sessions is not published; published are: bronze/ev"):
        read_published(warehouse, "silver/sessions")


def test_a_died_run_leaves_nothing(spark: SparkSession, root: str, before: Published) -> None:
    died = Warehouse(spark, root, "run-2")
    died.append(numbers(spark, 3), "bronze/events")
    died.overwrite(spark.createDataFrame([("x",)], "other string"), "gold/user_sequences")
    died.append(numbers(spark, 7), "silver/sessions")

    after = Warehouse(spark, root, "run-3")
    assert restore(after, before) == [
        "bronze/events: put back to version 0",
        "silver/sessions: removed, left by a run that did not publish",
        "gold/user_sequences: put back to version 0",
    ]
    assert read(after.read("bronze/events")) == [1, 2]
    assert after.read("gold/user_sequences").columns == ["n"]
    assert not after.exists("silver/sessions")
    assert restore(after, before) == [], "restoring twice must do nothing"

    after.append(numbers(spark, 8), "silver/sessions")
    after.append(numbers(spark, 4), "bronze/events")
    publish(after, pointer("run-3", table_versions(after)), before)
    assert read(read_published(after, "silver/sessions")) == [8]
    assert read(read_published(after, "bronze/events")) == [1, 2, 4]
    assert restore(after, published(root)) == []


def test_a_run_that_died_before_the_first_publication_is_removed(spark: SparkSession, root: str) -> None:
    died = Warehouse(spark, root, "run-1")
    died.append(numbers(spark, 1), "bronze/events")
    again = Warehouse(spark, root, "run-2")
    assert restore(again, published(root)) == ["bronze/events: removed, left by a run that did not publish"]
    again.append(spark.createDataFrame([("a",)], "user_id string"), "bronze/events")
    assert again.version("bronze/events") == 0
    assert again.read("bronze/events").columns == ["user_id"]


def test_ops_and_folders_that_are_no_tables_are_never_restored(
    spark: SparkSession, root: str, before: Published
) -> None:
    warehouse = Warehouse(spark, root, "run-1")
    warehouse.append(numbers(spark, 1), "ops/runs")
    stray = Path(root, "bronze", "notes")
    stray.mkdir()
    (stray / "readme.txt").write_text("mine")
    assert restore(warehouse, before) == []
    assert warehouse.exists("ops/runs") and (stray / "readme.txt").exists()


def test_a_commit_of_another_writer_stops_publishing(
    spark: SparkSession, root: str, before: Published
) -> None:
    mine = Warehouse(spark, root, "run-2")
    mine.append(numbers(spark, 3), "bronze/events")
    Warehouse(spark, root, "intruder").append(numbers(spark, 99), "bronze/events")
    mine.append(numbers(spark, 4), "bronze/events")
    with pytest.raises(SeqloomError, match="bronze/events: version 2 was written by intruder"):
        publish(mine, pointer("run-2", table_versions(mine)), before)
    assert published(root) == before


def test_a_table_that_changed_after_its_version_was_read_stops_publishing(
    spark: SparkSession, root: str, before: Published
) -> None:
    mine = Warehouse(spark, root, "run-2")
    versions = table_versions(mine)
    mine.append(numbers(spark, 3), "bronze/events")
    with pytest.raises(SeqloomError, match="bronze/events changed after the run read its versions"):
        publish(mine, pointer("run-2", versions), before)
    assert published(root) == before


def test_a_pointer_that_moved_stops_publishing(spark: SparkSession, root: str, before: Published) -> None:
    warehouse = Warehouse(spark, root, "run-1")
    second = publish(warehouse, pointer("run-1", before.versions), before)
    with pytest.raises(SeqloomError, match="moved from publication 0 of run run-1 to publication 1"):
        publish(warehouse, pointer("run-1", before.versions), before)
    assert published(root) == second


def test_a_published_table_that_is_gone_is_an_error(
    spark: SparkSession, root: str, before: Published
) -> None:
    warehouse = Warehouse(spark, root, "run-1")
    Path(root, "bronze/events").rename(Path(root, "taken-away"))
    with pytest.raises(WarehouseError, match="bronze/events of publication 0 is gone"):
        restore(warehouse, before)


CONTEND = """
import sys
from datetime import UTC, datetime
from pipelines.errors import SeqloomError
from pipelines.pointer import Published, move_pointer, published
root, run_id = sys.argv[1:]
now = datetime.now(UTC)
expected = published(root)
print("ready", flush=True)
sys.stdin.readline()
try:
    print(move_pointer(root, Published(run_id, now, now, None, {}, "f", "{}", {}), expected).number)
except SeqloomError as error:
    print("lost", error)
"""


def test_of_writers_that_publish_together_exactly_one_wins(tmp_path: Path) -> None:
    root = str(tmp_path)
    for number in range(2):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", CONTEND, root, f"run-{number}-{k}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for k in range(3)
        ]
        for writer in writers:
            assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        said = [writer.communicate()[0].split()[0] for writer in writers]
        assert sorted(said) == sorted([str(number), "lost", "lost"])
        newest = require_published(root)
        assert (newest.number, newest.run_id) == (number, f"run-{number}-{said.index(str(number))}")
