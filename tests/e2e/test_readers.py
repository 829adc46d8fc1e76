"""The tensors as others read them: Petastorm, and strands against the plain history in bronze."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable
from petastorm import make_batch_reader

from features.spec import SequenceSpec
from pipelines.pointer import require_published
from pipelines.reading import read_published_table
from pipelines.synthetic.generate import generate
from tests.content import table
from tests.e2e.builds import SETTINGS, Case

pytestmark = pytest.mark.usefixtures("spark")


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, spark: object) -> Path:
    folder = tmp_path_factory.mktemp("readers")
    generate(SETTINGS, folder / "generated")
    case = Case(folder)
    case.build(folder / "generated" / "events")
    return case.path()


def test_petastorm_reads_every_row_of_a_bucket_with_the_declared_shapes(warehouse: Path) -> None:
    pointer = require_published(str(warehouse))
    spec = SequenceSpec.from_json(pointer.spec)
    path = warehouse / "gold" / "user_sequences"
    delta = DeltaTable(str(path), version=pointer.versions["gold/user_sequences"])
    rows = table(warehouse, "gold/user_sequences")["length_bucket"].tolist()
    for bucket in sorted(set(rows)):
        files = [
            uri if "://" in uri else f"file://{uri}"
            for uri in delta.file_uris()
            if f"length_bucket={bucket}/" in uri
        ]
        seen = 0
        with make_batch_reader(files, num_epochs=1, reader_pool_type="dummy") as reader:
            for batch in reader:
                plain = batch._asdict()
                seen += len(plain["user_id"])
                for column, dtype in spec.array_columns().items():
                    values = np.stack(plain[column])
                    assert values.dtype == dtype
                    assert values.shape[1] == int(np.prod(spec.shape(column, bucket)))
        assert seen == rows.count(bucket)


def test_every_targets_recent_strand_is_the_plain_history_before_it(warehouse: Path) -> None:
    """From bronze alone: the items a target may see are those with a ts strictly before its own."""
    items = dict(table(warehouse, "silver/items")[["index", "id"]].itertuples(index=False))
    spec = SequenceSpec.from_json(require_published(str(warehouse)).spec)
    recent = spec.family("recent").length
    bronze = table(warehouse, "bronze/events")
    bronze = bronze.sort_values(["user_id", "ts", "mode", "event_id"])
    histories = dict(list(bronze.groupby("user_id")))
    owned = 0
    for row in table(warehouse, "gold/user_sequences").sample(40, random_state=1).to_dict("records"):
        history = histories[row["user_id"]]
        ts, ids = history["ts"].to_numpy(), history["item_id"].to_numpy()
        for target, read in zip(row["targets__pos"], row["targets__read_pos"], strict=True):
            if target < 0:
                continue
            owned += 1
            place = row["events__ordinal"][target] - 1
            visible = int((ts < ts[place]).sum())
            assert row["events__ordinal"][read] == visible
            seen = row["events__item"][max(0, read + 1 - recent) : read + 1]
            assert [items[code] for code in seen if code] == ids[max(0, visible - recent) : visible].tolist()
    assert owned > 100


def test_the_sql_of_the_readme_expands_the_same_strands(warehouse: Path, spark: "SparkSession") -> None:  # noqa: F821
    import re

    from features.explore import expand_frame

    readme = (Path(__file__).parents[2] / "pipelines" / "README.md").read_text()
    query = re.search(r"```sql\n(.*?)```", readme, re.DOTALL)
    assert query is not None
    path = warehouse / "gold" / "user_sequences"
    spark.read.format("delta").load(str(path)).createOrReplaceTempView("user_sequences")
    by_sql = spark.sql(query[1]).toPandas()
    by_python = expand_frame(read_published_table(str(warehouse), "gold/user_sequences").to_pylist(), "theme")
    columns = ["user_id", "chunk", "strand", "key", "place", "ordinal", "item"]
    order = ["user_id", "chunk", "strand", "place"]
    left = by_sql[columns].sort_values(order, ignore_index=True).astype(str)
    right = by_python[columns].sort_values(order, ignore_index=True).astype(str)
    assert len(left) > 0
    pd.testing.assert_frame_equal(left, right)
