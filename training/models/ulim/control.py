"""The control of ULIM's cascade: one vector for the whole catalogue, from as many parameters.

The same short-term encoder; the same target attention, over the whole visible history instead of a
category's; no categories to choose, whose parameters go to a wider feed-forward. Our choice.
"""

import torch
from torch import Tensor, nn

from training.batch import GAP_CODES, Batch, Rows, Samples, all_targets
from training.groups import SHORT
from training.layers.embed import EventEmbedding, Sizes
from training.layers.encoder import Shape
from training.layers.objective import hide_untrained, mean_where, next_item_nll, trained_items
from training.model import Loss
from training.models.ulim.encoders import ShortTerm, TargetAttention
from training.models.ulim.history import ages, at_places, latest_events


class GlobalRetrieval(nn.Module):
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

    def training_loss(self, batch: Batch) -> Loss:
        """Mean cross-entropy over the batch's samples, else over every target of its rows."""
        samples = batch.samples if batch.samples is not None else all_targets(batch.rows)
        kept = trained_items(samples)
        if batch.groups is not None:
            kept = kept & batch.groups.mask
        states = self.states(batch.rows, samples)[:, None]
        gates = states.new_zeros(states.shape[:2], dtype=torch.float32)
        nll, _ = next_item_nll(states, gates, self.item_vectors(), samples, batch.shared)
        total = mean_where(nll, kept)
        return Loss(total, {"next_item": total.detach()})

    def score_catalogue(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, V) float32 logits of every item."""
        states = self.states(rows, samples)
        return hide_untrained((states @ self.item_vectors().T.to(states.dtype)).float())

    def score_candidates(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, 1 + C) float32 logits of the candidates."""
        if samples.cand_item is None:
            raise ValueError("these samples have no candidates; give them cand_item")
        candidates = self.item_vectors()[samples.cand_item.long()]
        return (self.states(rows, samples)[:, None] * candidates).sum(-1, dtype=torch.float32)


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
