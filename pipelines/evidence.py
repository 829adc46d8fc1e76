"""Evidence that users hop in this data, from whole histories of a bounded, hash-ordered sample of users."""

from itertools import accumulate, takewhile
from typing import Any, Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from features.block import ENCODED_EVENTS
from features.evidence import hopping_evidence
from features.sessions import SessionRule, sessionize
from features.vectors import VectorTable

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
    """
    sampled = (
        users.where(F.col("n_events") <= USER_EVENTS)
        .select("user_id", "n_events")
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
    blocks = list(sessionize(events.cast(ENCODED_EVENTS).to_batches(), rule))
    return hopping_evidence(blocks, table)
