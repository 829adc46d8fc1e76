"""What the gates measure: each function reads its tables once or twice and returns a few numbers.

Counts of broken rows are 0 in a sound table; shares lie in [0, 1] and are 0 for an empty table.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from features.checks import ROW_FACTS, RULES, check_rows
from features.codes import FIRST_INDEX, MODES, NO_THEME
from features.spec import SequenceSpec
from pipelines.instants import to_micros
from pipelines.side_by_side import side_by_side

Metrics = dict[str, float]
"""Names and numbers; counts are ints."""

_ROW_FACTS_DDL = (
    "user_id string, chunk int, length int, n_targets int, first_target int, last_target int, "
    "unknown_items int, violations bigint"
)


_BROADCAST_USERS = 1_000_000
"""Up to so many users (some 100 MB) their first times go to every core; beyond, Spark joins by shuffle."""


def bronze_metrics(
    events: DataFrame,
    rejected: DataFrame,
    *,
    rows_in: int,
    kept: int,
    duplicates: int,
    rows_rejected: int,
    rows_erased: int = 0,
    window_start: datetime | None = None,
    window_end: datetime | None = None,
    batch: Column | None = None,
    proven: bool = False,
) -> Metrics:
    """Figures of ``bronze/events`` and ``bronze/events_rejected`` against what ingest counted.

    ``rows_erased`` of the refused rows are of erased users: no fault of the source, so that
    ``rejected_share`` leaves them out. ``batch`` is a condition on both tables that picks the rows of this
    run's batch (default: all). ``proven``: the ids of all other events were unique when they were published,
    so that a day's run need not count them again: the batch's, which every core gets, are held against each
    other and against those. ``newest_us`` is the newest time (µs), 0 where there are no events.
    """
    in_batch = sf.lit(True) if batch is None else batch
    outside = sf.lit(False)
    if window_start is not None:
        outside |= sf.col("ts") < sf.lit(window_start)
    if window_end is not None:
        outside |= sf.col("ts") >= sf.lit(window_end)
    counted, clashes = sf.lit(True), sf.lit(0)
    if proven:
        counted = in_batch
        ids = events.where(in_batch).select("event_id", sf.lit(True).alias("taken")).distinct()
        events = events.join(sf.broadcast(ids), "event_id", "left")
        clashes = sf.count_if(~in_batch & sf.col("taken").isNotNull())
    figures = events.agg(
        clashes.alias("clashes"),
        sf.count_if(in_batch).alias("stored"),
        *(sf.count_if(_missing(name)).alias(f"null_{name}") for name in ("event_id", "user_id", "item_id")),
        sf.count_if(sf.col("ts").isNull()).alias("null_ts"),
        sf.count_if(outside).alias("outside_window"),
        sf.max(sf.unix_micros("ts")).alias("newest_us"),
        *_distinct("event_id", counted),
    )
    refusals = rejected.agg(sf.count_if(in_batch).alias("rows"))
    found, refused = side_by_side([partial(_one, figures), partial(_one, refusals)])
    repeated = _repeated(events.where(counted), "event_id", found) + found.pop("clashes")
    found["newest_us"] = found["newest_us"] or 0
    return {
        "rows_in": rows_in,
        "rows_valid": kept + duplicates,
        "rows_unaccounted": rows_in - kept - duplicates - rows_rejected,
        "kept_not_stored": kept - found.pop("stored"),
        "rejected_not_stored": rows_rejected - refused["rows"],
        "rejected_share": _share(rows_rejected - rows_erased, rows_in - rows_erased),
        "repeated_event_ids": repeated,
        **found,
    }


def vocabulary_metrics(table: DataFrame, name: str, id_column: str, index_column: str = "index") -> Metrics:
    """Figures of an ``(id, index)`` table, prefixed ``<name>_``: n ids must hold indices 2 to n + 1."""
    found = _one(
        table.agg(
            sf.count("*").alias("rows"),
            sf.count_if(_missing(id_column) | sf.col(index_column).isNull()).alias("nulls"),
            sf.min(index_column).alias("least"),
            sf.max(index_column).alias("largest"),
            *_distinct(id_column),
            *_distinct(index_column),
        )
    )
    rows = found["rows"]
    return {
        f"{name}_ids": rows,
        f"{name}_nulls": found["nulls"],
        f"{name}_repeated_ids": _repeated(table, id_column, found),
        f"{name}_repeated_indices": _repeated(table, index_column, found),
        f"{name}_index_gaps": abs((found["least"] or FIRST_INDEX) - FIRST_INDEX)
        + abs((found["largest"] or rows + FIRST_INDEX - 1) - (rows + FIRST_INDEX - 1)),
    }


def event_totals(events: DataFrame, users: DataFrame, as_of: datetime) -> Metrics:
    """Events, users and targets that the published tables must account for, from bronze alone.

    ``users`` are ``pipelines.recency.visible_users`` of the bronze ``events``. A target is an event with an
    earlier one of its user: all but those at the user's first ts.
    """
    totals = _one(users.agg(sf.sum("n_events").alias("events"), sf.count("*").alias("users")))
    firsts = users.select("user_id", sf.col("first_ts").alias("ts"))
    if totals["users"] <= _BROADCAST_USERS:
        firsts = sf.broadcast(firsts)
    visible = events.where(sf.col("ts") < sf.lit(as_of)).select("user_id", "ts")
    first = visible.join(firsts, ["user_id", "ts"], "left_semi").count()
    events_visible = totals["events"] or 0
    return {"events": events_visible, "users": totals["users"], "targets": events_visible - first}


def sessions_metrics(
    sessions: DataFrame,
    *,
    totals: Mapping[str, float],
    as_of: datetime,
    theme_ids: Iterable[int],
    train_end: datetime | None = None,
    kept: DataFrame | None = None,
) -> Metrics:
    """Figures of ``silver/sessions``, or of the rows that a run has put into it.

    ``totals`` comes from ``event_totals`` or ``pipelines.increment``. ``kept``: how many ``sessions`` of a
    ``user_id`` come before the rows (default: none). Vector coverage counts the sessions that end before
    ``train_end`` (default: all).
    """
    modes = [f"n_{mode}" for mode in MODES]
    by_source = [f"n_vectors_{source}" for source in ("item", "category", "none")]
    known = [NO_THEME, *theme_ids]
    trained = sf.lit(True) if train_end is None else sf.col("end_ts") < sf.lit(train_end)
    before = sf.lag("ordinal").over(Window.partitionBy("user_id").orderBy("ordinal"))
    undecided = sf.col("is_hop").isNull()
    marked = _behind(sessions, kept, sessions=0).withColumn(
        "expected_ordinal", sf.coalesce(before + 1, sf.col("sessions") + 1)
    )
    found = _one(
        marked.agg(
            sf.count("*").alias("sessions"),
            sf.count_if(sf.col("ordinal") == sf.col("sessions") + 1).alias("users"),
            sf.sum("n_events").alias("events"),
            *(sf.sum(name).alias(name) for name in modes),
            sf.count_if(~sf.col("ordinal").eqNullSafe(sf.col("expected_ordinal"))).alias("broken_ordinals"),
            sf.count_if(_not(sf.col("start_ts") <= sf.col("end_ts"))).alias("end_before_start"),
            sf.count_if(_not(sf.col("end_ts") < sf.lit(as_of))).alias("at_or_after_as_of"),
            sf.count_if(_not(sf.col("n_events") >= 1)).alias("empty_sessions"),
            sf.count_if(_not(_sum(modes) == sf.col("n_events"))).alias("mode_counts_off"),
            sf.count_if(_not(_sum(by_source) == sf.col("n_events"))).alias("vector_counts_off"),
            sf.count_if(_not(sf.col("theme_id").isin(known))).alias("unknown_themes"),
            sf.count_if(undecided).alias("undecided"),
            sf.count_if(~undecided & sf.col("hop_p").isNull()).alias("hops_without_p"),
            sf.count_if(undecided != sf.col("is_return").isNull()).alias("returns_off"),
            sf.sum(sf.when(trained, sf.col("n_events"))).alias("trained_events"),
            sf.sum(sf.when(trained, sf.col("n_vectors_item") + sf.col("n_vectors_category"))).alias(
                "covered"
            ),
            *_distinct("session_id"),
        )
    )
    repeated = _repeated(sessions, "session_id", found)
    plain = {name: value or 0 for name, value in found.items()}
    trained_events, covered = plain.pop("trained_events"), plain.pop("covered")
    return {
        **plain,
        "repeated_session_ids": repeated,
        "events_missing": totals["events"] - plain["events"],
        "users_missing": totals["users"] - plain["users"],
        "undecided_share": _share(plain["undecided"], plain["sessions"]),
        "vector_coverage": _share(covered, trained_events) if trained_events else 1.0,
    }


def gold_metrics(
    sequences: DataFrame,
    spec: SequenceSpec,
    *,
    as_of: datetime,
    largest: Mapping[str, int],
    totals: Mapping[str, float],
    kept: DataFrame | None = None,
) -> Metrics:
    """Figures of ``gold/user_sequences``: one pass over its arrays in NumPy, the rest on its facts.

    ``largest`` gives the largest code of ``item``, ``category`` and ``type``; ``totals`` comes from
    ``event_totals`` or ``pipelines.increment``. ``kept``: how many ``chunks`` of a ``user_id`` come before
    the rows, and the ordinal of the ``target`` that comes next (default: none).
    """
    limit = to_micros(as_of)
    sizes = dict(largest)

    def facts(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield from check_rows(batch, spec, limit, sizes)

    order = Window.partitionBy("user_id").orderBy("chunk")
    rows = _behind(sequences.mapInArrow(facts, _ROW_FACTS_DDL), kept, chunks=0, target=None).withColumns(
        {
            "expected_chunk": sf.coalesce(sf.lag("chunk").over(order) + 1, sf.col("chunks")),
            "previous_target": sf.coalesce(sf.lag("last_target").over(order), sf.col("target") - 1),
        }
    )
    follows = sf.coalesce(sf.col("first_target") == sf.col("previous_target") + 1, sf.lit(False))
    found = _one(
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
        "unknown_item_share": _share(plain["unknown"], plain["places"]),
    }


def _behind(rows: DataFrame, kept: DataFrame | None, **otherwise: int | None) -> DataFrame:
    """The rows with columns of ``kept``, by user; ``otherwise`` where it has nothing of a user."""
    columns = {name: sf.lit(value).cast("int") for name, value in otherwise.items()}
    if kept is None:
        return rows.withColumns(columns)
    joined = rows.join(kept.select("user_id", *otherwise), "user_id", "left")
    return joined.withColumns({name: sf.coalesce(name, value) for name, value in columns.items()})


def _one(frame: DataFrame) -> dict[str, Any]:
    row = frame.first()
    assert row is not None
    return row.asDict()


def _distinct(column: str, rows: Column | None = None) -> tuple[Column, Column]:
    """What ``_repeated`` asks of the query that measures the rest, of ``rows`` (default: all)."""
    present = sf.col(column).isNotNull() & (sf.lit(True) if rows is None else rows)
    return (
        sf.count_if(present).alias(f"n_{column}"),
        sf.countDistinct(sf.when(present, sf.xxhash64(column))).alias(f"distinct_{column}"),
    )


def _repeated(table: DataFrame, column: str, found: dict[str, Any]) -> int:
    """Rows less distinct values, exactly; nulls are counted elsewhere. Takes its figures out of ``found``.

    Distinct 64-bit hashes prove distinct values and shuffle a quarter of the bytes of an id; only
    where hashes repeat are the values themselves counted.
    """
    n, distinct = found.pop(f"n_{column}"), found.pop(f"distinct_{column}")
    if n != distinct:
        distinct = _one(table.agg(sf.countDistinct(column).alias("distinct")))["distinct"]
    return int(n - distinct)


def _missing(name: str) -> Column:
    return sf.col(name).isNull() | (sf.col(name).cast("string") == "")


def _not(condition: Column) -> Column:
    """Where a condition does not hold, null included."""
    return ~sf.coalesce(condition, sf.lit(False))


def _sum(names: list[str]) -> Column:
    total = sf.col(names[0])
    for name in names[1:]:
        total = total + sf.col(name)
    return total


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


assert len(ROW_FACTS.names) == _ROW_FACTS_DDL.count(",") + 1
