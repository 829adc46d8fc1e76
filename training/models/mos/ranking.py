"""MoS for click prediction: the candidate gates what each expert pooled, over any pooler.

Experts see packed histories: the last events, a window of them, and the S newest strands of T events.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from features.spec import FamilySpec
from training.batch import Batch, Rows, Samples
from training.layers.embed import INIT_STD, Sizes
from training.layers.encoder import Shape
from training.layers.gather import gather_events, recent_places
from training.layers.poolers import TargetPooler
from training.losses import HIDDEN
from training.model import Loss
from training.models.mos.experts import FIRST_STRAND, joined_strand
from training.models.mos.router import Router
from training.models.mos.stages import Stage, Stages
from training.models.pooled import PooledModel, asked, click_loss
from training.strands import strands


class _Pooled(NamedTuple):
    """What E = 2 + S experts pooled for C candidates of N samples."""

    pooled: Tensor  # (N, C, E, d)
    target: Tensor  # (N, C, d)
    query: Tensor  # (N, d)
    key: Tensor  # (N, S) int32 keys of the strands, 0 where there is none


class CandidateGate(nn.Module):
    """Weights of the experts from the candidate, the query and what each expert pooled (our choice).

    The last map has no bias: it would shift all experts alike.
    """

    def __init__(self, dim: int, experts: int) -> None:
        super().__init__()
        self.pooled, self.target = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)
        self.rank, self.out = nn.Parameter(torch.zeros(experts, dim)), nn.Linear(dim, 1, bias=False)

    def forward(self, pooled: Tensor, target: Tensor, query: Tensor, present: Tensor) -> Tensor:
        """(N, C, E) weights; shapes as in ``_Pooled``, ``present`` (N, E) bool."""
        context = self.target(target + query[:, None])[:, :, None]
        logits = self.out(gelu(self.pooled(pooled) + context + self.rank))[..., 0].float()
        weight: Tensor = logits.masked_fill(~present[:, None], HIDDEN).softmax(dim=-1)
        return weight


class MoSRanker(PooledModel):
    """Mixture of Sequence over a target pooler; one pooler serves all experts.

    Experts and router are the paper's (arXiv 2604.20858; PAPERS.md [P]), the click task is [D]; a candidate
    that gates, one shared pooler and the strand's own loss are our choice.

    ``codes`` (K) must cover the pipeline's themes; see ``MoS`` for the rest.
    """

    def __init__(
        self,
        sizes: Sizes,
        item_category: Tensor,
        pooler: TargetPooler,
        shape: Shape | None = None,
        *,
        codes: int,
        length: int = 256,
        strands: int = 4,
        strand_length: int = 32,
        window: int = 32,
        strand_weight: float = 0.5,
        stages: Stages | None = None,
    ) -> None:
        shape = shape or Shape()
        super().__init__(sizes, item_category, pooler, shape, length=length)
        self.kind = nn.Parameter(torch.randn(3, shape.dim) * INIT_STD)  # tells the pooler's uses apart
        self.gate = CandidateGate(shape.dim, FIRST_STRAND + strands)
        self.router = Router(codes, shape.dim)
        self.family, self.window = FamilySpec("theme", strands, strand_length), window
        self.strand_weight, self.stages = strand_weight, stages or Stages()

    def on_step(self, step: int, total: int) -> None:
        """Enter the stage of ``step`` (from 0) of ``total``; the fit loop calls it before each step."""
        self.router.stage = self.stages.at(step, total)

    def logits(self, rows: Rows, samples: Samples, item: Tensor) -> Tensor:
        """(N, C) float32 log-odds of ``item`` (N, C) for each sample."""
        tagged = self.router.tagged(rows, self.embed.item_vectors(), samples)
        return self._fused(self._pooled(tagged, samples, item))

    def training_loss(self, batch: Batch) -> Loss:
        """Cross-entropy of the fused experts + ``strand_weight`` · that of the target's strand alone."""
        samples, item = asked(batch)
        items = self.embed.item_vectors()
        tagged = self.router.tagged(batch.rows, items, samples)
        found = self._pooled(tagged, samples, item)
        click = click_loss(self._fused(found), item)
        joined = joined_strand(found.key, tagged, samples)  # (N, S), at most one true
        strand = found.pooled[:, :, FIRST_STRAND:]
        chosen = torch.where(joined[:, None, :, None], strand, 0).sum(dim=2)  # (N, 1 + C, d)
        alone = self.head(chosen, found.target, found.query)
        in_strand = click_loss(alone, item, joined.any(dim=1))
        if self.training:
            self.router.learn(tagged, items)
        weight = 0.0 if self.router.stage == Stage.GATE else self.strand_weight
        parts = {"click": click.detach(), "strand": in_strand.detach()}
        return Loss(click + weight * in_strand, parts)

    def shares(self, rows: Rows, samples: Samples, item: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (N, C, E) of the experts for each ``item`` (N, C), and the strands' keys (N, S)."""
        tagged = self.router.tagged(rows, self.embed.item_vectors(), samples)
        found = self._pooled(tagged, samples, item)
        return self._weights(found), found.key

    def _pooled(self, tagged: Rows, samples: Samples, item: Tensor) -> _Pooled:
        x, row, end = self.embed(tagged), samples.row, samples.end
        target = self.embed.candidates(item, self.item_category[item.long()])
        found = strands(tagged, row, end, self.family)
        length = min(self.length, tagged.item.shape[1])
        pooled = torch.cat(
            [
                self._pool(x, row, recent_places(end, length)[:, None], target) + self.kind[0],
                self._pool(x, row, recent_places(end, self.window)[:, None], target) + self.kind[1],
                self._pool(x, row, found.pos, target) + self.kind[2],
            ],
            dim=2,
        )
        query = self.query(samples.query_gap, samples.new_session)
        return _Pooled(pooled, target, query, found.key)

    def _fused(self, found: _Pooled) -> Tensor:
        """(N, C) float32 log-odds of the experts' weighted mean."""
        weight = self._weights(found).to(found.pooled.dtype)
        fused = (weight[..., None] * found.pooled).sum(dim=2)
        scores: Tensor = self.head(fused, found.target, found.query)
        return scores

    def _weights(self, found: _Pooled) -> Tensor:
        """(N, C, E) float32, 0 for absent experts."""
        present = torch.cat([torch.ones_like(found.key[:, :FIRST_STRAND]), found.key], dim=1) > 0
        weight: Tensor = self.gate(found.pooled, found.target, found.query, present)
        return weight

    def _pool(self, x: Tensor, row: Tensor, places: Tensor, target: Tensor) -> Tensor:
        """(N, C, S, d) pooled for each candidate from the events of ``x`` at ``places`` (N, S, T)."""
        count, candidates = places.shape[1], target.shape[1]
        events, valid = gather_events(x, row, places)  # (N, S, T, d)
        each = target[:, None].expand(-1, count, -1, -1).flatten(0, 1)  # (N S, C, d)
        pooled = self.pooler(events.flatten(0, 1), each, valid.flatten(0, 1))
        return pooled.view(len(places), count, candidates, -1).transpose(1, 2)
