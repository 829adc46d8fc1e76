"""Item vectors by Spark ML's skip-gram, sessions as sentences: the slower alternative."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.ml.feature import Word2Vec
from pyspark.sql import DataFrame

from features.vectors import unit
from pipelines.fit.counts import Counts
from pipelines.fit.options import EmbeddingOptions
from pipelines.fit.stream import held_out, whole_sessions
from pipelines.workers import in_workers


def word2vec_vectors(
    narrow: DataFrame, counts: Counts, limit: int, options: EmbeddingOptions
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Indices (n,) and unit vectors (n, D) of items, from the first ``limit`` hash buckets' sessions,
    less those of held out users.

    One partition in hash order, so that the result does not depend on how the events were cut.
    """

    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for whole in whole_sessions(batches):
            taught = (whole.bucket < limit) & ~held_out(whole.user)
            sessions = whole.take(taught & (whole.lengths > 1))
            offsets = np.append(sessions.starts, len(sessions.item)).astype(np.int32)
            words = pa.array(sessions.item).cast(pa.string())
            lists = pa.ListArray.from_arrays(pa.array(offsets), words)
            key = pa.array(sessions.key.astype(np.int64))
            yield pa.record_batch([key, lists], names=["key", "words"])

    sentences = in_workers(narrow, kernel, "key long, words array<string>")
    ordered = sentences.repartition(1).sortWithinPartitions("key", "words").select("words")
    model = Word2Vec(
        vectorSize=options.dimensions,
        windowSize=options.window,
        minCount=options.min_count,
        numPartitions=1,
        maxIter=1,
        seed=options.seed,
        inputCol="words",
    ).fit(ordered)
    table = model.getVectors().selectExpr("cast(word as int) item", "vector").toPandas()
    items = table["item"].to_numpy(dtype=np.int32)
    order = np.argsort(items)
    vectors = np.stack([vector.toArray() for vector in table["vector"]])[order]
    common = np.average(vectors, axis=0, weights=_counts_of(items[order], counts))
    return items[order], unit(vectors - common)  # skip-gram vectors share a large common part


def _counts_of(items: NDArray[np.int32], counts: Counts) -> NDArray[np.int64]:
    return counts.items.count[np.searchsorted(counts.items.index, items)]
