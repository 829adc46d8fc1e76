"""Old files go and live ones stay, however the table's folder is named."""

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake

from pipelines.delta_files import data_files, dataset
from pipelines.errors import WarehouseError
from pipelines.old_versions import files_of, forget_old_versions, live_files, unneeded


def make(table: Path) -> None:
    """Three versions; the newest replaces the others' rows. A partition's name needs quoting."""
    for number in range(3):
        rows = pa.table({"user_id": [f"{number}"], "day": [["a", "b c", "ä%"][number]]})
        mode = "append" if number == 1 else "overwrite"
        write_deltalake(str(table), rows, mode=mode, partition_by=["day"])


def rows(table: Path) -> list[tuple[str, str]]:
    """By delta-rs's own engine."""
    query = QueryBuilder().register("t", DeltaTable(str(table))).execute("SELECT user_id, day FROM t")
    found = query.read_all()
    return list(zip(found.column("user_id").to_pylist(), found.column("day").to_pylist(), strict=True))


@pytest.mark.parametrize(
    "name",
    ["{}/w/t", "w/t", "./w/t", "{}/w/../w/t", "{}/link/t", "link/t", "{}/my logs #1/t", "{}/user_id=7/t"],
)
def test_the_newest_version_stays_readable(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "w")
    table = Path(name.format(tmp_path))
    make(table)
    before = live_files(table)
    assert before and all(file.exists() for file in before)
    assert {path.name for path in unneeded(table, before).paths} == {
        path.name for path in table.rglob("*.parquet") if path not in before
    }
    assert forget_old_versions(table) > 2
    assert rows(table) == [("2", "ä%")]
    files = data_files(DeltaTable(str(table)), str(table))
    assert dataset(files, str(table)).to_table().to_pylist() == [{"user_id": "2", "day": "ä%"}]
    assert files_of(table, 0) is None and {str(file) for file in live_files(table)} == set(files)


def test_nothing_is_removed_where_the_log_cannot_be_read(tmp_path: Path) -> None:
    """A damaged entry is not a missing version."""
    make(tmp_path / "t")
    assert files_of(tmp_path / "t", 7) is None
    (tmp_path / "t" / "_delta_log" / f"{2:020d}.json").write_text("{broken")
    with pytest.raises(WarehouseError, match="the newest version cannot be read"):
        live_files(tmp_path / "t")
    with pytest.raises(WarehouseError, match="version 2 cannot be read"):
        files_of(tmp_path / "t", 2)
    assert len(list((tmp_path / "t").rglob("*.parquet"))) == 3


def test_nothing_is_removed_where_no_live_file_is_met(tmp_path: Path) -> None:
    make(tmp_path / "t")
    with pytest.raises(WarehouseError, match="none of its 1 files is there"):
        unneeded(tmp_path / "t", [tmp_path / "elsewhere.parquet"])
    assert len(unneeded(tmp_path / "t", []).paths) == 3
