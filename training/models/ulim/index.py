"""Item indexes: one over everything and one for each category, searched exactly by inner product.

Source: PAPERS.md, ULIM, cascaded retrieval [D]: each long-term vector is searched inside its category's
index, the short-term vector over everything. Flat indexes are exact; a category holds few enough items
for that.
"""

import json
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from features.codes import PADDING
from training.models.ulim.catalogue import CatalogueByCategory

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

_VECTORS, _ITEMS, _SHAPE = "vectors.faiss", "items.npy", "indexes.json"


class ItemIndexes:
    """Vectors of the trained items in order of (category, code), and an index for each category.

    ``items`` (V',) are the codes in that order; ``bounds`` (C + 1,) say where each category stands.
    Items of unknown category stand at the end, past the last bound, and are found over everything only.
    """

    def __init__(self, everything: faiss.IndexFlatIP, items: Ints, bounds: Ints) -> None:
        if everything.ntotal != len(items) or bounds[-1] > len(items):
            raise ValueError(
                f"{everything.ntotal} vectors, {len(items)} items and bounds up to {bounds[-1]} do not match"
            )
        self.everything, self.items, self.bounds = everything, items, bounds
        vectors = everything.reconstruct_n(0, len(items))
        self._by_category: dict[int, faiss.IndexFlatIP] = {}
        for category in np.flatnonzero(np.diff(bounds)):
            index = faiss.IndexFlatIP(everything.d)
            index.add(vectors[bounds[category] : bounds[category + 1]])
            self._by_category[int(category)] = index

    @classmethod
    def of(cls, vectors: Floats, catalogue: CatalogueByCategory) -> "ItemIndexes":
        """Indexes of item vectors (V, d) float32; codes 0 and 1 are left out."""
        ordered = catalogue.order.cpu().numpy()
        rest = np.setdiff1d(np.arange(2, len(vectors)), ordered)
        items = np.concatenate([ordered, rest])
        everything = faiss.IndexFlatIP(vectors.shape[1])
        everything.add(np.ascontiguousarray(vectors[items]))
        return cls(everything, items, catalogue.bounds.cpu().numpy())

    def search(self, queries: Floats, count: int) -> Ints:
        """(N, count) items of the largest products with ``queries`` (N, d), best first, 0 where fewer."""
        return _find(self.everything, queries, count, self.items)

    def search_in(self, category: Ints, queries: Floats, count: int) -> Ints:
        """(P, count) the same, each of ``queries`` (P, d) within its own ``category`` (P,)."""
        found = np.full((len(queries), count), PADDING, np.int64)
        order = np.argsort(category, kind="stable")
        names, starts = np.unique(category[order], return_index=True)
        for name, places in zip(names.tolist(), np.split(order, starts[1:]), strict=True):
            if name in self._by_category:
                items = self.items[self.bounds[name] : self.bounds[name + 1]]
                found[places] = _find(self._by_category[name], queries[places], count, items)
        return found

    def save(self, folder: Path) -> None:
        """Write the vectors in faiss's format, the item codes and the bounds; nothing is pickled."""
        folder.mkdir(parents=True, exist_ok=True)
        faiss.write_index(self.everything, str(folder / _VECTORS))
        np.save(folder / _ITEMS, self.items, allow_pickle=False)
        (folder / _SHAPE).write_text(json.dumps({"bounds": self.bounds.tolist()}))

    @classmethod
    def load(cls, folder: Path) -> "ItemIndexes":
        """The indexes that ``save`` wrote; ValueError where the folder holds another kind of index."""
        everything = faiss.read_index(str(folder / _VECTORS))
        if not isinstance(everything, faiss.IndexFlatIP):
            raise ValueError(f"{folder / _VECTORS} is a {type(everything).__name__}, not an IndexFlatIP")
        bounds = json.loads((folder / _SHAPE).read_text())["bounds"]
        return cls(everything, np.load(folder / _ITEMS, allow_pickle=False), np.array(bounds, np.int64))


def _find(index: faiss.IndexFlatIP, queries: Floats, count: int, items: Ints) -> Ints:
    """(N, count) items at the places that the index finds; items of equal product in order of code."""
    found = np.full((len(queries), count), PADDING, np.int64)
    asked = min(count, index.ntotal)
    if asked == 0 or len(queries) == 0:
        return found
    products, places = index.search(np.ascontiguousarray(queries, np.float32), asked)
    found[:, :asked] = np.take_along_axis(items[places], np.lexsort((items[places], -products), axis=1), 1)
    return found
