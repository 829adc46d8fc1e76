"""Item vectors on a binary grid, with the category's mean for items that the fit never saw.

Every entry is a multiple of 2^-16 and every vector at most one long. Sums and dot products of up to
two million of them are then exact in float64 (all partial sums stay below 2^53 units), so themes and
distances do not depend on summation order, BLAS, batches or partitions. Our choice.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from features.codes import FIRST_INDEX

GRID: Final = 2.0**-16
"""Spacing of the values that an entry may take; float32 holds them exactly."""

LONGEST: Final = 1.001
"""Largest accepted norm: one, and what rounding to the grid may add."""

SOURCE_NONE: Final = 0
SOURCE_ITEM: Final = 1
SOURCE_CATEGORY: Final = 2
"""Where an event's vector comes from."""

KINDS: Final = {"item": SOURCE_ITEM, "category": SOURCE_CATEGORY}
"""How ``silver/item_vectors`` calls what a vector is of."""

VECTORS_SCHEMA: Final = pa.schema(
    [("source", pa.int32()), ("index", pa.int32()), ("vector", pa.list_(pa.float32()))]
)
"""A vector table as rows: source 1 is an item, 2 a category's mean."""


def quantise(values: ArrayLike) -> NDArray[np.float64]:
    """Round to the nearest multiple of 2^-16 (ties to even); any shape. ValueError if not finite.

    >>> (quantise([0.5, 1e-7, -0.3]) * 65536).tolist()
    [32768.0, 0.0, -19661.0]
    """
    exact = np.asarray(values, dtype=np.float64)
    if not np.isfinite(exact).all():
        raise ValueError("vectors hold NaN or infinity; a fit must not produce them")
    return np.asarray(np.rint(exact / GRID) * GRID + 0.0)  # + 0.0 turns -0.0 into 0.0


def unit(values: ArrayLike) -> NDArray[np.float64]:
    """Rows of ``values`` (n, D) scaled to length one, on the grid; a zero row stays zero."""
    rows = np.asarray(values, dtype=np.float64)
    norm = np.linalg.norm(rows, axis=-1, keepdims=True)
    return quantise(rows / np.where(norm > 0, norm, 1.0))


@dataclass(frozen=True)
class VectorTable:
    """Vectors of items and categories; R rows, of which row 0 is zero and means "none".

    ``item_row[i]`` is the row of the item with index i, 0 where it has none; indices at or after the
    array's end were named later than the fit and have none either. Likewise ``category_row``.
    """

    vectors: NDArray[np.float32]  # (R, D), on the grid
    item_row: NDArray[np.int32]  # (items,)
    category_row: NDArray[np.int32]  # (categories,)

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or not len(self.vectors) or self.vectors[0].any():
            raise ValueError("vectors must be of shape (R, D) with a row 0 of zeros")
        for rows in (self.item_row, self.category_row):
            if rows[:FIRST_INDEX].any() or (len(rows) and not 0 <= rows.min() <= rows.max() < self.rows):
                raise ValueError("an index below 2 has a vector, or one points outside the vectors")
        for part in np.array_split(self.vectors, 1 + self.vectors.size // 1_000_000):
            wide = part.astype(np.float64)
            if (np.rint(wide / GRID) * GRID != wide).any():  # NaN is unequal too
                raise ValueError("vectors are not multiples of 2^-16; pass them through quantise()")
            if (np.linalg.norm(wide, axis=1) > LONGEST).any():
                raise ValueError("a vector is longer than one; pass the items' through unit()")

    @property
    def dim(self) -> int:
        """Length D of a vector."""
        return int(self.vectors.shape[1])

    @property
    def rows(self) -> int:
        """Number R of rows."""
        return len(self.vectors)

    @classmethod
    def build(
        cls,
        items: NDArray[np.int32],
        item_vectors: NDArray[np.float64],
        categories: NDArray[np.int32],
        category_vectors: NDArray[np.float64],
    ) -> "VectorTable":
        """From distinct indices (n,) and their quantised vectors (n, D), in any order.

        A zero vector counts as none. Rows are laid out by index, so equal input sets give equal tables.
        """
        dim = item_vectors.shape[1]
        parts = [np.zeros((1, dim), dtype=np.float32)]
        tables: list[NDArray[np.int32]] = []
        for index, vectors in ((items, item_vectors), (categories, category_vectors)):
            if len(np.unique(index)) != len(index):
                raise ValueError("an index occurs twice among the vectors")
            order = np.argsort(index, kind="stable")
            order = order[vectors[order].any(axis=1)]
            row = np.zeros(int(index.max(initial=FIRST_INDEX - 1)) + 1, dtype=np.int32)
            row[index[order]] = np.arange(len(order)) + sum(map(len, parts))
            parts.append(vectors[order].reshape(-1, dim).astype(np.float32))
            tables.append(row)
        return cls(np.concatenate(parts), tables[0], tables[1])

    def lookup(
        self, item: NDArray[np.int32], category: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """Row of each event's vector and where it is from: ``(rows (N,), source (N,))``.

        The item's own vector, else its category's mean, else row 0.
        """
        own = _take(self.item_row, item)
        rows = np.where(own > 0, own, _take(self.category_row, category))
        source = np.where(own > 0, SOURCE_ITEM, np.where(rows > 0, SOURCE_CATEGORY, SOURCE_NONE))
        return rows, source.astype(np.int8)

    def to_arrow(self) -> pa.Table:
        """Rows of ``VECTORS_SCHEMA``, items first, ascending by index."""
        items, categories = np.flatnonzero(self.item_row), np.flatnonzero(self.category_row)
        row = np.concatenate([self.item_row[items], self.category_row[categories]])
        flat = pa.array(self.vectors[row].reshape(-1))
        offsets = pa.array(np.arange(len(row) + 1, dtype=np.int32) * self.dim)
        source = np.repeat(np.array([SOURCE_ITEM, SOURCE_CATEGORY], np.int32), [len(items), len(categories)])
        index = np.concatenate([items, categories]).astype(np.int32)
        vector = pa.ListArray.from_arrays(offsets, flat)
        return pa.table([pa.array(source), pa.array(index), vector], schema=VECTORS_SCHEMA)

    @classmethod
    def from_arrow(cls, table: pa.Table, dim: int) -> "VectorTable":
        """The table that ``to_arrow`` wrote, rows in any order, lists of fixed or free size."""
        source, index = _column(table, "source", np.int32), _column(table, "index", np.int32)
        vector = table.column("vector").combine_chunks()
        flat = np.asarray(vector.flatten(), dtype=np.float64)
        if flat.size != table.num_rows * dim:
            raise ValueError(f"vectors of {dim} entries expected, {flat.size} in {table.num_rows} rows found")
        vectors = flat.reshape(-1, dim)
        items, categories = source == SOURCE_ITEM, source == SOURCE_CATEGORY
        if not (items | categories).all():
            raise ValueError("source of a vector must be 1 (item) or 2 (category)")
        return cls.build(index[items], vectors[items], index[categories], vectors[categories])


def stored_vectors(rows: pa.Table, dim: int) -> VectorTable:
    """The table from rows (kind, index, vector) of one fit in ``silver/item_vectors``, in any order."""
    kind = pa.array([KINDS[name] for name in rows.column("kind").to_pylist()], pa.int32())
    plain = pa.table([kind, rows.column("index"), rows.column("vector")], VECTORS_SCHEMA.names)
    return VectorTable.from_arrow(plain, dim)


def category_means(
    category: NDArray[np.int32], count: NDArray[np.int64], vectors: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Mean vector of each category's items, weighted by the items' event counts, on the grid.

    ``category``, ``count`` (n,) and ``vectors`` (n, D) describe items that have a vector. Items without
    a category give no mean: it would pretend an interest that the whole shop shares.
    """
    known = (category >= FIRST_INDEX) & (count > 0)
    index, inverse = np.unique(category[known], return_inverse=True)
    weight = count[known].astype(np.float64)
    total = np.bincount(inverse, weight, len(index))
    means = np.empty((len(index), vectors.shape[1]))
    for d in range(vectors.shape[1]):  # one dimension at a time: no second (n, D) array
        means[:, d] = np.bincount(inverse, weight * vectors[known, d], len(index)) / total
    return index.astype(np.int32), quantise(means)


def _take(rows: NDArray[np.int32], index: NDArray[np.int32]) -> NDArray[np.int32]:
    """``rows[index]``, 0 for indices that the array does not reach."""
    if not len(rows):
        return np.zeros(len(index), dtype=np.int32)
    inside = index < len(rows)
    return np.where(inside, rows[np.where(inside, index, 0)], 0).astype(np.int32)


def _column(table: pa.Table, name: str, dtype: Any) -> NDArray[Any]:
    return np.asarray(table.column(name).to_numpy(), dtype=dtype)
