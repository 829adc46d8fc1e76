"""Opening a version of the sequence table: pinned, complete, and refused where Parquet alone would lie."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from features.spec import SequenceSpec
from tests.training.gold import SPEC, gold_rows, publish, random_users, write_gold
from training.errors import DataError
from training.gold import table_blocks
from training.table import open_published, open_table


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with two published versions; the second holds more users."""
    folder = tmp_path_factory.mktemp("warehouse")
    gold = folder / "gold/user_sequences"
    publish(folder, write_gold(gold, gold_rows(random_users(1))))
    publish(folder, write_gold(gold, gold_rows(random_users(2, 5))), SPEC.without("mode"), "f2")
    return folder


def test_the_newest_version_is_opened_and_pinned(root: Path) -> None:
    table = open_table(str(root / "gold/user_sequences"))
    assert table.version == DeltaTable(table.path).version()
    assert table.rows == len(gold_rows(random_users(1))) + len(gold_rows(random_users(2, 5)))
    assert table == open_published(str(root))
    assert sum(len(block) for block in table_blocks(table)()) == table.rows


def test_an_older_version_has_its_own_files_spec_and_publication(root: Path) -> None:
    newest = open_published(str(root))
    first = min(pub.versions["gold/user_sequences"] for pub in _publications(root))
    table = open_table(newest.path, first)
    assert table.rows == len(gold_rows(random_users(1))) < newest.rows
    assert table.spec == SPEC
    assert newest.spec == SPEC.without("mode")
    assert table.publication is not None and table.publication.fit_id == "f1"
    assert {file.uri for file in table.files} < {file.uri for file in newest.files}


def test_rows_of_every_bucket_add_up(root: Path) -> None:
    table = open_published(str(root))
    assert table.buckets == tuple(sorted(set(gold_rows(random_users(1))["length_bucket"].to_pylist())))
    assert sum(file.rows for size in table.buckets for file in table.in_bucket(size)) == table.rows


def test_small_tables_are_read_at_the_published_version(root: Path) -> None:
    publication = open_published(str(root)).publication
    assert publication is not None
    assert publication.fit_id == "f2"
    assert publication.fit_row()["fit_id"] == "f2"
    with pytest.raises(DataError, match="no table silver/users"):
        publication.read("silver/users")


def test_an_unpublished_version_needs_its_spec(root: Path) -> None:
    path = str(root / "gold/user_sequences")
    with pytest.raises(DataError, match="no publication in ops/published names it"):
        open_table(path, 0)
    assert open_table(path, 0, SPEC).publication is None


def test_what_is_not_there_is_named(tmp_path: Path, root: Path) -> None:
    with pytest.raises(DataError, match="no Delta table can be opened here"):
        open_table(str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="at version 999"):
        open_table(str(root / "gold/user_sequences"), 999)
    with pytest.raises(DataError, match="nothing is published here"):
        open_published(str(tmp_path))


def plain(path: Path, **kwargs: object) -> None:
    write_deltalake(str(path), gold_rows(random_users(3, 3)), partition_by=["length_bucket"], **kwargs)  # type: ignore[call-overload]


def deletion_vectors(path: Path) -> None:
    plain(path, configuration={"delta.enableDeletionVectors": "true"})


def mapped_columns(path: Path) -> None:
    plain(path)
    _rewrite_log(path, '"configuration":{}', '"configuration":{"delta.columnMapping.mode":"name"}')


def unpartitioned(path: Path) -> None:
    write_deltalake(str(path), gold_rows(random_users(3, 3)))


def column_gone(path: Path) -> None:
    rows = gold_rows(random_users(3, 3)).drop_columns(["theme__key"])
    write_deltalake(str(path), rows, partition_by=["length_bucket"])


def no_statistics(path: Path) -> None:
    plain(path)
    for log in (path / "_delta_log").glob("*.json"):
        log.write_text("\n".join(_without_statistics(line) for line in log.read_text().splitlines()))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (deletion_vectors, "deletion vectors.*REORG TABLE"),
        (mapped_columns, "maps column names.*copy it into"),
        (unpartitioned, "not by length_bucket"),
        (column_gone, "lacks theme__key"),
        (no_statistics, "no row count for length_bucket="),
    ],
)
def test_a_table_that_parquet_files_do_not_tell_is_refused(
    make: Callable[[Path], None], says: str, tmp_path: Path
) -> None:
    make(tmp_path / "table")
    with pytest.raises(DataError, match=says):
        open_table(str(tmp_path / "table"), spec=SPEC)


def test_a_bucket_that_the_spec_does_not_know_is_refused(tmp_path: Path) -> None:
    plain(tmp_path / "table")
    with pytest.raises(DataError, match="has length buckets"):
        open_table(str(tmp_path / "table"), spec=SequenceSpec(256, 32, (32, 256), SPEC.families))


def test_arrays_of_another_shape_are_refused(tmp_path: Path) -> None:
    plain(tmp_path / "table")
    table = open_table(str(tmp_path / "table"), spec=SequenceSpec(256, 99, SPEC.buckets, SPEC.families))
    with pytest.raises(DataError, match=r"targets__pos of bucket 64.*declares 64 a row"):
        list(table_blocks(table)())


def test_a_path_may_hold_what_urls_escape(tmp_path: Path) -> None:
    root = tmp_path / "a b#c"
    publish(root, write_gold(root / "gold/user_sequences", gold_rows(random_users(3, 3))))
    table = open_published(str(root))
    assert sum(len(block) for block in table_blocks(table)()) == table.rows
    assert table.publication is not None and table.publication.fit_row()["fit_id"] == "f1"


def test_a_file_with_other_rows_than_the_log_says_is_refused(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    plain(tmp_path / "table")
    table = open_table(str(tmp_path / "table"), spec=SPEC)
    name = table.files[-1].uri
    pq.write_table(pa.concat_tables([pq.read_table(name, partitioning=None)] * 2), name)
    with pytest.raises(DataError, match="but the Delta log says"):
        list(table_blocks(table)())


def _publications(root: Path) -> list:  # type: ignore[type-arg]
    from training.published import publications

    return publications(str(root))


def _rewrite_log(path: Path, old: str, new: str) -> None:
    log = next((path / "_delta_log").glob("*0.json"))
    text = log.read_text()
    assert old in text
    log.write_text(text.replace(old, new))


def _without_statistics(line: str) -> str:
    import json

    action = json.loads(line)
    if "add" in action:
        action["add"].pop("stats")
    return json.dumps(action)
