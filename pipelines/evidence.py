"""Evidence that users hop in this data, from whole histories of a bounded, hash-ordered sample of users."""

from itertools import accumulate, takewhile
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from features.block import ENCODED_EVENTS
from features.evidence import hopping_evidence
from features.sessions import SessionRule, sessionize
from features.vectors import VectorTable
from pipelines.fit.stream import held_out_user

SAMPLE_USERS: Final = 2_000
SAMPLE_EVENTS: Final = 300_000
USER_EVENTS: Final = 5_000
"""Users with more events are left out: bots would speak for everyone (our choice)."""


def measure_evidence(
    ordered: DataFrame, users: DataFrame, rule: SessionRule, table: VectorTable
) -> dict[str, Any] | None:
    """``features.evidence.hopping_evidence`` of up to 2,000 users; None where there is no such user.

    ``ordered`` holds the encoded events, ``users`` the rows of ``silver/users``. The sample is the users of
    the smallest id hashes, so it is the same for any partitioning; at most 300,000 events reach the driver.

    ``vectors`` are compared among the held out users of the sample alone (``vectors_sample`` counts them;
    both None without any): in sessions that vectors were learned from, events look alike for that reason.
    """
    sampled = (
        users.where(F.col("n_events") <= USER_EVENTS)
        .select("user_id", "n_events", held_out_user("user_id").alias("held_out"))
        .orderBy(F.xxhash64("user_id"), "user_id")
        .limit(SAMPLE_USERS)
        .collect()
    )
    within = sum(
        1 for _ in takewhile(lambda n: n <= SAMPLE_EVENTS, accumulate(row["n_events"] for row in sampled))
    )
    chosen = [(row["user_id"],) for row in sampled[:within]]
    if not chosen:
        return None
    names = ordered.sparkSession.createDataFrame(chosen, "user_id string")
    events = ordered.join(F.broadcast(names), "user_id", "left_semi").select(*ENCODED_EVENTS.names).toArrow()
    events = events.cast(ENCODED_EVENTS)
    found = hopping_evidence(list(sessionize(events.to_batches(), rule)), table, kinds=("categories",))
    unseen = pa.array([row["user_id"] for row in sampled[:within] if row["held_out"]], pa.string())
    if not len(unseen):
        return found | {"vectors": None, "vectors_sample": None}
    events = events.filter(pc.is_in(events.column("user_id"), unseen))
    dense = hopping_evidence(list(sessionize(events.to_batches(), rule)), table, kinds=("vectors",))
    counts = {name: dense[name] for name in ("users", "sessions", "events")}
    return found | {"vectors": dense["vectors"], "vectors_sample": counts}
