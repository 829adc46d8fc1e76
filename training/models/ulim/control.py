"""The control of ULIM's cascade: one vector for the whole catalogue, from as many parameters.

The same short-term encoder; the same target attention, over the whole visible history instead of a
category's; no categories to choose, whose parameters go to a wider feed-forward. Our choice.
"""

from torch import Tensor, nn

from training.batch import GAP_CODES, Rows, Samples
from training.groups import SHORT
from training.layers.embed import EventEmbedding, Sizes
from training.layers.encoder import Shape
from training.models.one_vector import OneVector
from training.models.ulim.encoders import ShortTerm, TargetAttention
from training.models.ulim.history import ages, at_places, latest_events


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
        pos = latest_events(samples, SHORT)
        recent = at_places(events, samples.row, pos)
        short = self.short(recent, pos >= 0, samples.query_gap, samples.new_session)
        out: Tensor = self.history(short, events[samples.row], ages(rows, samples))[:, 0]
        return out


def parameters(module: nn.Module) -> int:
    """How many numbers a module learns."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def matched_control(model: nn.Module, sizes: Sizes, shape: Shape, tolerance: float = 0.05) -> GlobalRetrieval:
    """A control with as many parameters as ``model``, found by the feed-forward's width alone.

    ValueError where no width comes within ``tolerance``.
    """
    wanted, base = parameters(model), parameters(GlobalRetrieval(sizes, shape))
    wider = Shape(shape.dim, shape.layers, shape.heads, shape.ff + 1, shape.dropout)
    step = parameters(GlobalRetrieval(sizes, wider)) - base
    ff = max(0.25, shape.ff + (wanted - base) / step)
    control = GlobalRetrieval(sizes, Shape(shape.dim, shape.layers, shape.heads, ff, shape.dropout))
    found = parameters(control)
    if abs(found - wanted) > tolerance * wanted:
        raise ValueError(f"a control of {found} parameters is too far from the model's {wanted}")
    return control
