"""Item and category vectors, learned from a sample of sessions by the method asked for."""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame

from features.vectors import VectorTable, category_means, unit
from pipelines.fit.category import category_table
from pipelines.fit.cooccurrence import Tokens, count_pairs, head_pairs, stored, tail_pairs
from pipelines.fit.counts import Counts
from pipelines.fit.factors import factorise
from pipelines.fit.fold import Factors, fold_in, shrink
from pipelines.fit.options import EmbeddingOptions
from pipelines.fit.stream import bucket_limit, columns_of, run_starts, whole_runs
from pipelines.fit.word2vec import word2vec_vectors
from pipelines.workers import in_workers

SLICE_ROWS: Final = 100_000
"""Items that are shrunk at once; bounds the intermediate arrays."""


def learn_vectors(narrow: DataFrame, counts: Counts, options: EmbeddingOptions) -> VectorTable:
    """The table of vectors from narrow events before ``train_end``.

    The table is in this process's memory, and later in each Python worker's: (items with a vector +
    categories) x D x 4 bytes; while it is made, six times that. ``min_count`` bounds the items.
    """
    if options.method == "category":
        return category_table(counts.categories.index)
    limit = bucket_limit(counts.sessions, options.max_sessions)
    if options.method == "word2vec":
        items, own = word2vec_vectors(narrow, counts, limit, options)
        categories, category_vectors = np.zeros(0, dtype=np.int32), np.zeros((0, own.shape[1]))
    else:
        items, own, categories, category_vectors = _ppmi_svd(narrow, counts, limit, options)
    at = np.searchsorted(counts.items.index, items)
    item_category, item_count = counts.item_category[at], counts.items.count[at]
    categories, category_vectors = _complete(
        categories, category_vectors, category_means(item_category, item_count, own)
    )
    vectors = np.empty_like(own)
    for low in range(0, len(items), SLICE_ROWS):
        part = slice(low, low + SLICE_ROWS)
        prior = _rows_of(categories, category_vectors, item_category[part])
        vectors[part] = unit(shrink(own[part], item_count[part], prior, options.shrinkage))
    return VectorTable.build(items, vectors, categories, category_vectors)


def _ppmi_svd(
    narrow: DataFrame, counts: Counts, limit: int, options: EmbeddingOptions
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int32], NDArray[np.float64]]:
    """Indices and unit vectors of items and of categories; those without neighbours are left out."""
    tokens = Tokens.of(counts, options)
    pairs = stored(count_pairs(narrow, tokens, limit, options.window))
    try:
        head = head_pairs(pairs, tokens.contexts, options.max_pairs)
        factors, rows = factorise(head, tokens.contexts, options.dimensions, options.seed)
        rows = unit(rows)
        found, folded = np.zeros(0, dtype=np.int32), np.zeros((0, options.dimensions))
        if len(tokens.tail):
            found, folded = _fold_tail(pairs, tokens, factors)
    finally:
        pairs.unpersist()
    items = np.concatenate([tokens.items, found])
    item_rows = np.concatenate([rows[: len(tokens.items)], folded])
    has, category_rows = item_rows.any(axis=1), rows[len(tokens.items) :]
    known = category_rows.any(axis=1)
    return items[has], item_rows[has], tokens.categories[known], category_rows[known]


def _fold_tail(
    pairs: DataFrame, tokens: Tokens, factors: Factors
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Indices and unit vectors of the tail's items, computed where their pairs are."""
    shared = pairs.sparkSession.sparkContext.broadcast(factors)

    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for part in whole_runs(columns_of(batches), ("right",)):
            starts = run_starts(part, ("right",))
            vectors = unit(fold_in(shared.value, starts, part["left"], part["n"]))
            offsets = pa.array(np.arange(len(starts) + 1, dtype=np.int32) * vectors.shape[1])
            flat = pa.array(vectors.astype(np.float32).reshape(-1))  # exact: on the grid
            lists = pa.ListArray.from_arrays(offsets, flat)
            yield pa.record_batch([pa.array(part["right"][starts]), lists], names=["token", "vector"])

    folded = in_workers(
        tail_pairs(pairs, tokens.contexts), kernel, "token int, vector array<float>"
    ).toArrow()
    token = folded.column("token").to_numpy()
    flat = folded.column("vector").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    order = np.argsort(token)  # rows arrive in any order
    vectors = flat.reshape(len(token), factors.projection.shape[1]).astype(np.float64)
    return tokens.tail[token[order] - tokens.contexts], vectors[order]


def _complete(
    index: NDArray[np.int32],
    vectors: NDArray[np.float64],
    means: tuple[NDArray[np.int32], NDArray[np.float64]],
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Categories with a vector of their own, and the mean of their items for the others, as unit rows."""
    missing = ~np.isin(means[0], index)
    rows = np.concatenate([vectors, unit(means[1][missing])])
    return np.concatenate([index, means[0][missing]]).astype(np.int32), rows


def _rows_of(
    index: NDArray[np.int32], vectors: NDArray[np.float64], wanted: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Vectors of the wanted indices (n,); zero for those that have none; (n, D)."""
    place = np.zeros(int(max(index.max(initial=0), wanted.max(initial=0))) + 1, dtype=np.int64)
    place[index] = np.arange(1, len(index) + 1)
    padded = np.concatenate([np.zeros((1, vectors.shape[1])), vectors])
    return np.asarray(padded[place[wanted]])
