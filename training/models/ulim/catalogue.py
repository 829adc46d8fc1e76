"""The catalogue by category: which items each category holds."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from features.codes import FIRST_INDEX
from training.batch import Samples


class CatalogueByCategory(nn.Module):
    """Items in order of category and code, for the trained items (codes from 2) of known categories."""

    item_category: Tensor  # (V,) int32
    order: Tensor  # (V',) int64 items in order of category, then code
    bounds: Tensor  # (C + 1,) int64: category c holds order[bounds[c]:bounds[c + 1]]

    def __init__(self, item_category: Tensor, categories: int) -> None:
        super().__init__()
        if int(item_category.max()) >= categories:
            raise ValueError(
                f"an item has category {int(item_category.max())}; there are {categories} categories"
            )
        codes = torch.arange(len(item_category), device=item_category.device)  # not meta's, under a count
        known = torch.where(codes >= FIRST_INDEX, item_category, 0).long()
        order = known.argsort(stable=True)
        held = known[order] >= FIRST_INDEX
        counts = torch.bincount(known[known >= FIRST_INDEX], minlength=categories)
        self.register_buffer("item_category", item_category.int())
        self.register_buffer("order", order[held])
        self.register_buffer("bounds", torch.cat([counts.new_zeros(1), counts.cumsum(0)]))

    @property
    def counts(self) -> Tensor:
        """(C,) int64 items of each category."""
        return self.bounds.diff()

    def of_targets(self, samples: Samples) -> Tensor:
        """(N,) int32 category of the targets: where retrieval looks for a trained item, else the event's.

        An item may be seen under several categories; its index is that of its main one.
        """
        trained = samples.item >= FIRST_INDEX
        return torch.where(trained, self.item_category[samples.item.long()], samples.category)

    def items(self, category: int) -> Tensor:
        """(n,) int64 items of one category, ascending."""
        start, stop = self.bounds[category : category + 2].tolist()
        return self.order[start:stop]


def by_category(category: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Each known category in ``category`` (P,), ascending, with the places (n,) int64 that name it."""
    order = category.argsort(stable=True)
    counts = torch.bincount(category).tolist()
    for name, places in enumerate(torch.split(order, counts)):
        if name >= FIRST_INDEX and len(places):
            yield name, places
