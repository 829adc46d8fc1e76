"""Scores of users: what a worker makes of rows, and the table they go to."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.score.model import ModelVersion, load

TABLE: Final = "scores/users"

ANSWERS: Final = pa.schema(
    [
        ("user_id", pa.string()),
        ("items", pa.list_(pa.string())),  # best first
        ("scores", pa.list_(pa.float64())),
        ("theme", pa.int32()),  # of the session that is open at as_of; null where none is
    ]
)
Batches = Iterable[pa.RecordBatch]


def last_rows(sequences: DataFrame) -> DataFrame:
    """Every user's newest row of ``gold/user_sequences``, without the strands: models build their own."""
    made = [name for name in sequences.columns if name.endswith(("__key", "__dropped"))]
    families = {name.rpartition("__")[0] for name in made}
    slim = sequences.drop(*made, *(f"{family}__pos" for family in families))
    newest = sequences.groupBy("user_id").agg(F.max("chunk").alias("chunk"))
    return slim.join(newest, ["user_id", "chunk"], "left_semi")


def scorer(model: ModelVersion, as_of: datetime, top_k: int) -> Callable[[Batches], Batches]:
    """What ``mapInArrow`` runs: rows of users in, ``ANSWERS`` out."""

    def score(batches: Batches) -> Batches:
        served = load(model).served
        for batch in batches:
            if batch.num_rows:
                found = served.recommend_rows(pa.Table.from_batches([batch]), as_of=as_of, top_k=top_k)
                table = pa.Table.from_pandas(found[ANSWERS.names], schema=ANSWERS, preserve_index=False)
                yield from table.to_batches()

    return score
