"""The gate of ``gold/user_sequences``: every row's arrays in NumPy, then how rows follow one another."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import deltalake
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as sf

from features.checks import ROW_FACTS, RULES, check_rows
from features.spec import SequenceSpec
from pipelines.delta_files import data_files, dataset
from pipelines.gates.figures import Metrics, behind, one_row, share
from pipelines.lock import local_folder
from pipelines.warehouse import Warehouse
from pipelines.workers import in_workers

_ROW_FACTS_DDL: Final = (
    "user_id string, chunk int, length int, n_targets int, first_target int, last_target int, "
    "unknown_items int, violations bigint"
)
assert len(ROW_FACTS.names) == _ROW_FACTS_DDL.count(",") + 1

_TASKS_A_CORE: Final = 4
"""A task that Python does begins a tenth of a second late: one for each of many small files would wait."""

_ROWS: Final = 1_024
"""Rows that a task decodes at once from a file: some 100 MB in the largest bucket."""


@dataclass(frozen=True)
class RowCheck:
    """What is true of each row of ``gold/user_sequences``: frames of ``features.checks.ROW_FACTS``.

    ``as_of`` in µs; ``largest`` is the largest code of ``item``, ``category`` and ``type``.
    """

    spec: SequenceSpec
    as_of: int
    largest: Mapping[str, int]

    def of_rows(self, rows: DataFrame) -> DataFrame:
        """Of any rows with the table's columns."""
        return in_workers(rows, self._facts, _ROW_FACTS_DDL)

    def of_table(self, warehouse: Warehouse, table: str) -> DataFrame:
        """Of the rows of the table's newest version, read from its files in tasks, as a loader reads them.

        Spark would decode the arrays to rows and these to Arrow, which costs more than the check; it does
        so for warehouses elsewhere than in a folder.
        """
        folder = local_folder(warehouse.path(table))
        if folder is None:
            return self.of_rows(warehouse.read(table))
        path = str(folder)
        files = sorted(data_files(deltalake.DeltaTable(path), path))  # by bucket
        tasks = max(1, min(len(files), _TASKS_A_CORE * warehouse.spark.sparkContext.defaultParallelism))

        def read(numbers: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in numbers:
                for number in batch.column(0).to_pylist():
                    for file in files[number::tasks]:  # of each bucket some
                        yield from self._facts(_rows(file, path))

        return in_workers(warehouse.spark.range(0, tasks, 1, tasks), read, _ROW_FACTS_DDL)

    def _facts(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield from check_rows(batch, self.spec, self.as_of, self.largest)


def _rows(file: str, folder: str) -> Iterator[pa.RecordBatch]:
    return iter(dataset([file], folder).to_batches(batch_size=_ROWS, batch_readahead=1, use_threads=False))


def gold_metrics(facts: DataFrame, *, totals: Mapping[str, float], kept: DataFrame | None = None) -> Metrics:
    """Figures of rows of ``gold/user_sequences``, from the ``facts`` of each (``RowCheck``).

    ``totals`` comes from ``event_totals`` or ``pipelines.increment``. ``kept``: how many ``chunks`` of a
    ``user_id`` come before the rows, and the ordinal of the ``target`` that comes next (default: none).
    """
    order = Window.partitionBy("user_id").orderBy("chunk")
    rows = behind(facts, kept, chunks=0, target=None).withColumns(
        {
            "expected_chunk": sf.coalesce(sf.lag("chunk").over(order) + 1, sf.col("chunks")),
            "previous_target": sf.coalesce(sf.lag("last_target").over(order), sf.col("target") - 1),
        }
    )
    follows = sf.coalesce(sf.col("first_target") == sf.col("previous_target") + 1, sf.lit(False))
    found = one_row(
        rows.agg(
            sf.count("*").alias("rows"),
            sf.count_if(sf.col("chunk") == sf.col("chunks")).alias("users"),
            sf.sum("length").alias("places"),
            sf.sum("n_targets").alias("targets"),
            sf.sum("unknown_items").alias("unknown"),
            sf.count_if(~sf.col("chunk").eqNullSafe(sf.col("expected_chunk"))).alias("broken_chunks"),
            sf.count_if((sf.col("expected_chunk") > 0) & ~follows).alias("broken_target_chain"),
            *(
                sf.count_if(sf.col("violations").bitwiseAND(sf.lit(1 << bit)) != 0).alias(f"broken_{rule}")
                for bit, rule in enumerate(RULES)
            ),
        )
    )
    plain = {name: value or 0 for name, value in found.items()}
    return {
        **plain,
        "targets_missing": totals["targets"] - plain["targets"],
        "users_missing": totals["users"] - plain["users"],
        "unknown_item_share": share(plain["unknown"], plain["places"]),
    }
