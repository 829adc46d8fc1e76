"""A day's work: the users that its events touch, what is stored of them, and which of their rows it replaces.

An event that comes behind the start of its user's last session goes on from the stored state; of a user with
an earlier one, a late event, nothing is reused: it may split, extend or merge sessions and renumber the rest.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.storagelevel import StorageLevel

from features.resume import ORDERED_EVENTS, STATE
from features.spec import SequenceSpec
from features.user_state import STATES, TAIL
from pipelines.encode import encode, partition_count
from pipelines.gates.figures import Metrics
from pipelines.run_context import Run
from pipelines.work import Work

if TYPE_CHECKING:
    from pipelines.build import BuildRequest

ORDER: Final = ("ts", "sequence", "mode", "event_id")
"""By which a user's events are sorted; a missing sequence comes first."""

STATE_TABLE: Final = "silver/user_state"


def why_not(run: Run, request: "BuildRequest", as_of: datetime, spec: SequenceSpec) -> str | None:
    """Why a run with the published fit cannot go on from the published tables; None where it can."""
    old = run.pointer
    if old is None:
        return "nothing is published yet"
    if request.full_refresh:
        return "--full-refresh"
    if as_of < old.as_of:
        return f"as_of lies before the published {old.as_of.isoformat()}"
    if STATE_TABLE not in old.versions:
        return "the published version has no user states"
    if spec != SequenceSpec.from_json(old.spec):
        return "the strand families changed"
    return None


@contextmanager
def touched_users(run: Run, events: DataFrame, as_of: datetime) -> Iterator[Work | None]:
    """The work of a run that goes on from the published tables; None where no user is touched.

    ``events`` is bronze with the run's batch. Events are new to the tables where ``Run.is_new`` has them so,
    or they lie between the published ``as_of`` and this one.
    """
    assert run.pointer is not None
    new = run.is_new() | (F.col("ts") >= F.lit(run.pointer.as_of))
    fresh = encode(events.where(new), run.warehouse, as_of).persist(StorageLevel.DISK_ONLY)
    held = [fresh]
    try:
        firsts = fresh.groupBy("user_id").agg(F.min(F.struct(*ORDER)).alias("first"))
        count = fresh.count()
        if not count:
            yield None
            return
        found = _states(run, firsts).persist(StorageLevel.DISK_ONLY)
        held.append(found)
        late = found.where("is_late").select("user_id")
        late_users = late.count()
        if late_users:
            run.progress.say(f"{late_users:,} users with late events are made anew")
        known = found.where(~F.col("is_late")).select(*STATES.names)
        parts = [fresh, _tails(known)]
        if late_users:
            whole = encode(events.join(late, "user_id", "left_semi"), run.warehouse, as_of)
            parts = [fresh.join(late, "user_id", "left_anti"), _tails(known), whole]
        stream = _in_order(run, parts, known, count).persist(StorageLevel.DISK_ONLY)
        held.append(stream)
        yield Work(stream, _totals(stream), _kept(found), late if late_users else None)
    finally:
        for frame in held:
            frame.unpersist()


def _states(run: Run, firsts: DataFrame) -> DataFrame:
    """What is stored of users with new events, and whether one of these ``is_late``."""
    assert run.pointer is not None
    stored = run.warehouse.read(STATE_TABLE, run.pointer.versions[STATE_TABLE])
    tail = F.struct(*(F.col(f"tail__{name}")[0].alias(name) for name in ORDER))
    joined = stored.join(firsts, "user_id")
    return joined.withColumn("is_late", F.col("first") < tail).drop("first")


def _tails(known: DataFrame) -> DataFrame:
    """The events of the last sessions."""
    lists = F.arrays_zip(*(F.col(f"tail__{name}").alias(name) for name in TAIL.names))
    events = known.select("user_id", F.explode(lists).alias("event"))
    own = [F.col(f"event.{name}").alias(name) for name in TAIL.names]
    return events.select("user_id", *own).select(*ORDERED_EVENTS.names)


def _in_order(run: Run, parts: list[DataFrame], known: DataFrame, count: int) -> DataFrame:
    """Events of ``parts`` and states of ``known`` by user, the state first, then in order."""
    schema = from_arrow_schema(STATES)
    events = parts[0]
    for part in parts[1:]:
        events = events.unionByName(part)
    without = events.withColumn(STATE, F.lit(None).cast(schema))
    blank = [F.lit(None).cast(f.dataType).alias(f.name) for f in events.schema if f.name != "user_id"]
    states = known.select("user_id", *blank, F.struct(*STATES.names).cast(schema).alias(STATE))
    partitions = partition_count(4 * count, run.config.spark, run.spark.sparkContext.defaultParallelism)
    both = without.unionByName(states).repartition(partitions, "user_id")
    return both.sortWithinPartitions("user_id", *ORDER)


def _kept(found: DataFrame) -> DataFrame:
    """What stays of each user: of a late one nothing."""
    stays = {"sessions": F.col("n_sessions"), "chunks": F.col("open__chunk")}
    own = [F.when(F.col("is_late"), 0).otherwise(column).alias(name) for name, column in stays.items()]
    return found.select("user_id", *own, F.when(~F.col("is_late"), _open_target()).alias("target"))


def _open_target(prefix: str = "") -> Column:
    """Ordinal of the first target of the open chunk; null where there is no target yet."""
    return F.try_element_at(F.col(f"{prefix}open__ordinal"), F.col(f"{prefix}open__start") + 1)


def _totals(stream: DataFrame) -> Metrics:
    """Events, users and targets of the rows to be made, from stored counts and times, not from a kernel."""
    state = {
        "n_events": F.col(f"{STATE}.n_events"),
        "first_ts": F.when(F.col(f"{STATE}.n_events") > 0, F.col(f"{STATE}.flags__first_ts")),
        "target": _open_target(f"{STATE}."),
    }
    users = stream.groupBy("user_id").agg(
        F.count("event_id").alias("events"),
        F.min("ts").alias("earliest"),
        *(F.max(column).alias(name) for name, column in state.items()),
    )
    first = F.coalesce("first_ts", "earliest")
    owned = stream.join(users.select("user_id", first.alias("first")), "user_id").where("ts > first")
    later = owned.groupBy("user_id").agg(F.count("*").alias("later"))
    targets = F.coalesce(F.col("n_events") + F.col("events") - F.col("target") + 1, F.col("later"), F.lit(0))
    found = users.join(later, "user_id", "left").agg(
        F.sum("events").alias("events"), F.count("*").alias("users"), F.sum(targets).alias("targets")
    )
    row = found.head(1)[0]
    return {name: row[name] or 0 for name in ("events", "users", "targets")}
