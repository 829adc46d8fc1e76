"""A model's vectors as tables with the source's ids (``features.embeddings``)."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from torch import Tensor, nn

from features.codes import FIRST_INDEX, PADDING
from features.embeddings import ITEM_VECTORS, USER_VECTORS
from training.model import Retrieval, Searchable
from training.models.moe import Balanced
from training.vocabulary import TrainVocabulary

ROWS: Final = 1 << 16
"""Items of a batch of the table: bounds the offsets of its lists (our choice)."""


def searchable(model: nn.Module) -> Searchable | None:
    """The model as one with vectors to search by; None where it has none."""
    inner = model.model if isinstance(model, Balanced) else model
    return inner if isinstance(inner, Searchable) else None


def item_table(vectors: Tensor, vocabulary: TrainVocabulary) -> pa.Table:
    """``ITEM_VECTORS`` of all trained items, from the vectors (V, d) of all codes."""
    items, categories = vocabulary.ids["items"], vocabulary.ids["categories"]
    batches = []
    for start in range(FIRST_INDEX, len(vectors), ROWS):
        own = slice(start, start + ROWS)
        category = [categories[code] for code in vocabulary.item_category[own].tolist()]
        columns = [pa.array(items[own], pa.string()), pa.array(category, pa.string()), lists(vectors[own])]
        batches.append(pa.RecordBatch.from_arrays(columns, schema=ITEM_VECTORS))
    return pa.Table.from_batches(batches, ITEM_VECTORS)


def user_table(users: Sequence[str], found: Retrieval, vocabulary: TrainVocabulary) -> pa.Table:
    """``USER_VECTORS`` of N users, without the vectors that weigh nothing."""
    there = found.weight > 0  # (N, E)
    category = found.weight.new_full(there.shape, PADDING).int() if found.category is None else found.category
    names = [vocabulary.ids["categories"][code] for code in category[there].tolist()]
    weight = found.weight[there].double().cpu().numpy()
    each = [lists(found.vectors[there]), pa.array(weight), pa.array(names, pa.string())]
    nested = USER_VECTORS.field("vectors").type
    vectors = pa.StructArray.from_arrays(each, fields=list(nested.value_type))
    ends = there.sum(dim=1).cumsum(dim=0).cpu().numpy()
    offsets = pa.array(np.concatenate([[0], ends]), pa.int32())
    columns = [pa.array(users, pa.string()), pa.ListArray.from_arrays(offsets, vectors, nested)]
    return pa.Table.from_arrays(columns, schema=USER_VECTORS)


def lists(vectors: Tensor) -> pa.ListArray:
    """Vectors (M, d) as M lists of float32."""
    count, dim = vectors.shape
    flat = pa.array(vectors.float().cpu().numpy().reshape(-1))
    return pa.ListArray.from_arrays(pa.array(np.arange(count + 1) * dim, pa.int32()), flat)
