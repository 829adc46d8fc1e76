"""What the gates of bronze and silver measure, in one or two readings of a table: a few numbers.

Counts of broken rows are 0 in a sound table; shares lie in [0, 1] and are 0 for an empty table.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from features.codes import FIRST_INDEX, MODES, NO_THEME
from pipelines.broadcast import offered
from pipelines.gates.figures import (
    Metrics,
    added,
    behind,
    count_repeated,
    distinct_in,
    distinct_of,
    is_not,
    missing,
    one_row,
    share,
)
from pipelines.side_by_side import side_by_side


def bronze_metrics(
    events: DataFrame,
    rejected: DataFrame,
    *,
    rows_in: int,
    kept: int,
    duplicates: int,
    rows_rejected: int,
    rows_erased: int = 0,
    refused_before: int = 0,
    window_start: datetime | None = None,
    window_end: datetime | None = None,
    batch: Column | None = None,
    proven: bool = False,
) -> Metrics:
    """Figures of ``bronze/events`` and ``bronze/events_rejected`` against what ingest counted.

    ``rows_erased`` of the refused rows are of erased users: no fault of the source, so that
    ``rejected_share`` leaves them out. ``refused_before`` of the duplicates were refused by an earlier run:
    neither ``rejected_share`` nor ``rows_valid`` counts them. ``batch`` is a condition on both tables that
    picks the rows of this run's batch (default: all). ``proven``: the ids of all other events were unique
    when they were published, so that a day's run need not count them again: the batch's, which every core
    gets, are held against each other and against those. ``newest_us`` is the newest time (µs), 0 where there
    are no events.
    """
    in_batch = sf.lit(True) if batch is None else batch
    outside = sf.lit(False)
    if window_start is not None:
        outside |= sf.col("ts") < sf.lit(window_start)
    if window_end is not None:
        outside |= sf.col("ts") >= sf.lit(window_end)
    unproven, clashes = events, sf.lit(0)
    if proven:
        unproven = events.where(in_batch)
        taken = unproven.select("event_id", sf.lit(True).alias("taken")).distinct()
        events = events.join(sf.broadcast(taken), "event_id", "left")
        clashes = sf.count_if(~in_batch & sf.col("taken").isNotNull())
    figures = events.agg(
        clashes.alias("clashes"),
        sf.count_if(in_batch).alias("stored"),
        *(sf.count_if(missing(name)).alias(f"null_{name}") for name in ("event_id", "user_id", "item_id")),
        sf.count_if(sf.col("ts").isNull()).alias("null_ts"),
        sf.count_if(outside).alias("outside_window"),
        sf.max(sf.unix_micros("ts")).alias("newest_us"),
    )
    numbers = distinct_in(unproven, "event_id")
    refusals = rejected.agg(sf.count_if(in_batch).alias("rows"))
    found, ids, refused = side_by_side([partial(one_row, frame) for frame in (figures, numbers, refusals)])
    repeated = count_repeated(unproven, "event_id", ids) + found.pop("clashes")
    found["newest_us"] = found["newest_us"] or 0
    return {
        "rows_in": rows_in,
        "rows_valid": kept + duplicates - refused_before,
        "rows_unaccounted": rows_in - kept - duplicates - rows_rejected,
        "kept_not_stored": kept - found.pop("stored"),
        "rejected_not_stored": rows_rejected - refused["rows"],
        "rejected_share": share(rows_rejected - rows_erased, rows_in - rows_erased - refused_before),
        "repeated_event_ids": repeated,
        **found,
    }


def vocabulary_metrics(table: DataFrame, name: str, id_column: str, index_column: str = "index") -> Metrics:
    """Figures of an ``(id, index)`` table, prefixed ``<name>_``: n ids must hold indices 2 to n + 1."""
    found = one_row(
        table.agg(
            sf.count("*").alias("rows"),
            sf.count_if(missing(id_column) | sf.col(index_column).isNull()).alias("nulls"),
            sf.min(index_column).alias("least"),
            sf.max(index_column).alias("largest"),
            *distinct_of(id_column),
            *distinct_of(index_column),
        )
    )
    rows = found["rows"]
    return {
        f"{name}_ids": rows,
        f"{name}_nulls": found["nulls"],
        f"{name}_repeated_ids": count_repeated(table, id_column, found),
        f"{name}_repeated_indices": count_repeated(table, index_column, found),
        f"{name}_index_gaps": abs((found["least"] or FIRST_INDEX) - FIRST_INDEX)
        + abs((found["largest"] or rows + FIRST_INDEX - 1) - (rows + FIRST_INDEX - 1)),
    }


def event_totals(events: DataFrame, users: DataFrame, as_of: datetime) -> Metrics:
    """Events, users and targets that the published tables must account for, from bronze alone.

    ``users`` are ``pipelines.recency.visible_users`` of the bronze ``events``. A target is an event with an
    earlier one of its user: all but those at the user's first ts.
    """
    totals = one_row(users.agg(sf.sum("n_events").alias("events"), sf.count("*").alias("users")))
    firsts = users.select("user_id", sf.col("first_ts").alias("ts"))
    visible = events.where(sf.col("ts") < sf.lit(as_of)).select("user_id", "ts")
    first = visible.join(offered(firsts, totals["users"]), ["user_id", "ts"], "left_semi").count()
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
    marked = behind(sessions, kept, sessions=0).withColumn(
        "expected_ordinal", sf.coalesce(before + 1, sf.col("sessions") + 1)
    )
    found = one_row(
        marked.agg(
            sf.count("*").alias("sessions"),
            sf.count_if(sf.col("ordinal") == sf.col("sessions") + 1).alias("users"),
            sf.sum("n_events").alias("events"),
            *(sf.sum(name).alias(name) for name in modes),
            sf.count_if(~sf.col("ordinal").eqNullSafe(sf.col("expected_ordinal"))).alias("broken_ordinals"),
            sf.count_if(is_not(sf.col("start_ts") <= sf.col("end_ts"))).alias("end_before_start"),
            sf.count_if(is_not(sf.col("end_ts") < sf.lit(as_of))).alias("at_or_after_as_of"),
            sf.count_if(is_not(sf.col("n_events") >= 1)).alias("empty_sessions"),
            sf.count_if(is_not(added(modes) == sf.col("n_events"))).alias("mode_counts_off"),
            sf.count_if(is_not(added(by_source) == sf.col("n_events"))).alias("vector_counts_off"),
            sf.count_if(is_not(sf.col("theme_id").isin(known))).alias("unknown_themes"),
            sf.count_if(undecided).alias("undecided"),
            sf.count_if(~undecided & sf.col("hop_p").isNull()).alias("hops_without_p"),
            sf.count_if(undecided != sf.col("is_return").isNull()).alias("returns_off"),
            sf.sum(sf.when(trained, sf.col("n_events"))).alias("trained_events"),
            sf.sum(sf.when(trained, sf.col("n_vectors_item") + sf.col("n_vectors_category"))).alias(
                "covered"
            ),
            *distinct_of("session_id"),
        )
    )
    repeated = count_repeated(sessions, "session_id", found)
    plain = {name: value or 0 for name, value in found.items()}
    trained_events, covered = plain.pop("trained_events"), plain.pop("covered")
    return {
        **plain,
        "repeated_session_ids": repeated,
        "events_missing": totals["events"] - plain["events"],
        "users_missing": totals["users"] - plain["users"],
        "undecided_share": share(plain["undecided"], plain["sessions"]),
        "vector_coverage": share(covered, trained_events) if trained_events else 1.0,
    }
