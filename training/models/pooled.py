"""Single-sequence click models: a pooler over the last events, and a head that scores a candidate.

The controls of MoS' click form: DIN, TWIN, SDIM, or a sequence encoder's last state. Trained with binary
cross-entropy on the samples' candidates (column 0 happened, the others are drawn negatives), whose
log-odds are the scores; the head is our choice.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, gelu

from features.codes import FIRST_INDEX
from training.batch import Batch, Rows, Samples
from training.layers.embed import EventEmbedding, Sizes
from training.layers.encoder import Shape
from training.layers.gather import gather_events, recent_places
from training.layers.objective import CATALOGUE_CELLS, hide_untrained, mean_where
from training.layers.poolers import TargetPooler
from training.layers.query import QueryEmbedding
from training.model import Loss


class CandidateHead(nn.Module):
    """Log-odds of a candidate from what was pooled for it, itself, their product and the query."""

    def __init__(self, dim: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(4 * dim, inner), nn.Linear(inner, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, pooled: Tensor, target: Tensor, query: Tensor) -> Tensor:
        """(N, C) float32 of ``pooled`` and ``target`` (N, C, d) and ``query`` (N, d)."""
        asked = query[:, None].expand_as(target)
        read = torch.cat([pooled, target, pooled * target, asked], dim=-1)
        logits: Tensor = self.out(self.dropout(gelu(self.inner(read))))[..., 0]
        return logits.float()


class PooledModel(nn.Module):
    """Click model over one sequence: the last ``length`` visible events, pooled for each candidate.

    ``item_category`` (V,) tells each item's category code; ``head_inner`` is the head's width (by default
    2 · dim), which a control may raise to match another model's parameters.
    """

    item_category: Tensor

    def __init__(
        self,
        sizes: Sizes,
        item_category: Tensor,
        pooler: TargetPooler,
        shape: Shape | None = None,
        *,
        length: int = 256,
        head_inner: int | None = None,
    ) -> None:
        super().__init__()
        shape = shape or Shape()
        if item_category.shape != (sizes.items,):
            raise ValueError(f"item_category has shape {tuple(item_category.shape)}, not ({sizes.items},)")
        self.register_buffer("item_category", item_category.int(), persistent=False)
        self.embed = EventEmbedding(sizes, shape.dim, shape.dropout)
        self.query = QueryEmbedding(shape.dim)
        self.pooler = pooler
        self.head = CandidateHead(shape.dim, head_inner or 2 * shape.dim, shape.dropout)
        self.length = length

    def logits(self, rows: Rows, samples: Samples, item: Tensor) -> Tensor:
        """(N, C) float32 log-odds of ``item`` (N, C) for each sample."""
        places = recent_places(samples.end, min(self.length, rows.item.shape[1]))
        events, valid = gather_events(self.embed(rows), samples.row, places)  # (N, T, d), (N, T)
        target = self.embed.candidates(item, self.item_category[item.long()])
        pooled = self.pooler(events, target, valid)  # (N, C, d)
        scores: Tensor = self.head(pooled, target, self.query(samples.query_gap, samples.new_session))
        return scores

    def training_loss(self, batch: Batch) -> Loss:
        """Mean binary cross-entropy over the batch's candidates."""
        samples, item = asked(batch)
        total = click_loss(self.logits(batch.rows, samples, item), item)
        return Loss(total, {"click": total.detach()})

    def score_candidates(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, 1 + C) float32 log-odds of the candidates."""
        return self.logits(rows, samples, given_candidates(samples))

    def score_catalogue(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, V) float32 log-odds of every item, a slice of items at a time: slow, by its nature."""
        cells = len(samples.end) * rows.item.shape[1] * self.embed.item_vectors().shape[1]
        items = torch.arange(len(self.item_category), device=rows.item.device)
        parts = [
            self.logits(rows, samples, some.expand(len(samples.end), -1))
            for some in torch.split(items, max(1, CATALOGUE_CELLS // cells))
        ]
        return hide_untrained(torch.cat(parts, dim=1))


def given_candidates(samples: Samples) -> Tensor:
    """(N, 1 + C) items of the samples' candidates; ValueError where there are none."""
    if samples.cand_item is None:
        raise ValueError("these samples have no candidates; give them cand_item")
    return samples.cand_item


def asked(batch: Batch) -> tuple[Samples, Tensor]:
    """The batch's samples and their candidates (N, 1 + C); ValueError where either is missing."""
    if batch.samples is None:
        raise ValueError("a click model learns from samples with candidates; this batch has none")
    return batch.samples, given_candidates(batch.samples)


def click_loss(logits: Tensor, item: Tensor, where: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy of ``logits`` (N, 1 + C), column 0 being the positive.

    Empty or unknown candidates of ``item`` (N, 1 + C), and a positive drawn as a negative, do not count;
    neither do samples outside ``where`` (N,).
    """
    happened = torch.zeros_like(logits)
    happened[:, 0] = 1
    counts = item >= FIRST_INDEX
    counts[:, 1:] &= item[:, 1:] != item[:, :1]
    if where is not None:
        counts &= where[:, None]
    loss = binary_cross_entropy_with_logits(logits, happened, reduction="none")
    return mean_where(loss.flatten(), counts.flatten())
