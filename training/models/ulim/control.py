"""The control of ULIM's cascade: one vector for the whole catalogue, from as many parameters.

The same short-term encoder; the same target attention, over the whole visible history instead of a
category's; no categories to choose, whose parameters go to a wider feed-forward. Embedding tables are
left out of the count, as for every control; PGIN's own table of categories is the one that the control
has none of. FLOPs then come within 10 % as well, at the default sizes. Our choice.
"""

from dataclasses import replace

import torch
from torch import Tensor

from training.batch import GAP_CODES, Rows, Samples
from training.groups import SHORT
from training.layers.embed import EventEmbedding, Sizes
from training.layers.encoder import Shape
from training.layers.gather import gather_events, recent_places
from training.models.match import matched_width
from training.models.one_vector import OneVector
from training.models.ulim.encoders import ShortTerm, TargetAttention
from training.models.ulim.history import ages


class GlobalRetrieval(OneVector):
    """One vector a user: the short-term vector attends over everything that the target may see."""

    def __init__(self, sizes: Sizes, shape: Shape | None = None) -> None:
        super().__init__()
        shape = shape or Shape()
        self.events = EventEmbedding(sizes, shape.dim, shape.dropout)
        self.short = ShortTerm(shape)
        self.history = TargetAttention(shape.dim, shape.heads, GAP_CODES, shape.ff, shape.dropout)

    def item_vectors(self) -> Tensor:
        """(V, d) vectors to search by inner product."""
        return self.events.item_vectors()

    def states(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, d) vectors of the users."""
        events = self.events(rows)
        pos = recent_places(samples.end, min(SHORT, rows.item.shape[1]))
        recent, valid = gather_events(events, samples.row, pos)
        short = self.short(recent, valid, samples.query_gap, samples.new_session)
        out: Tensor = self.history(short, events[samples.row], ages(rows, samples))[:, 0]
        return out


def matched_control(wanted: int, sizes: Sizes, shape: Shape, tolerance: float = 0.05) -> GlobalRetrieval:
    """A control with ``wanted`` body parameters (``training.models.match``), by the feed-forward's width.

    ValueError where no width comes within ``tolerance``; nothing is allocated for the search.
    """

    def of(inner: int) -> GlobalRetrieval:
        return GlobalRetrieval(sizes, replace(shape, ff=inner / shape.dim))

    with torch.device("meta"):
        width = matched_width(of, wanted, tolerance=tolerance)
    return of(width)
