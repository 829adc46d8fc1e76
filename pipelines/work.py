"""What a run passes over, and how its rows take their place in the tables."""

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame

from pipelines.warehouse import Warehouse


@dataclass(frozen=True)
class Work:
    """Whole users' events in order; ``totals`` are their events, users and targets.

    ``kept`` is None where all rows are made anew. Else it has a row for each user with earlier rows:
    ``user_id``, the number of ``sessions`` and of ``chunks`` that stay, and the ordinal of the ``target``
    that the first new chunk begins with; and ``late`` has the ``user_id`` of those of whom nothing stays.
    A run that ``starts_over`` goes on from nothing that is published.
    """

    ordered: DataFrame
    totals: Mapping[str, float]
    kept: DataFrame | None = None
    late: DataFrame | None = None
    starts_over: bool = False

    def put(
        self, warehouse: Warehouse, rows: DataFrame, table: str, stays: str, by: tuple[str, ...] = ()
    ) -> None:
        """Write the rows in place of all, or of those of users in ``kept`` that do not meet ``stays``.

        ``stays`` is a SQL condition on a row ``t`` of the table and ``k`` of ``kept``.
        """
        if self.kept is None:
            warehouse.overwrite(rows, table, partition_by=by)
            return
        warehouse.delete(table, self.kept, f"t.user_id = k.user_id AND NOT ({stays})")
        warehouse.append(rows, table, partition_by=by)
