"""MoS for next-item retrieval: a mixture of experts over scales and themes, trained on all positions."""

import torch
from torch import Tensor, nn

from training.batch import Batch, Rows, Samples, all_targets
from training.layers.embed import EventEmbedding, Sizes
from training.layers.encoder import SequenceEncoder, Shape
from training.layers.objective import mean_where, mixture_scores, next_item_nll, trained_items
from training.layers.query import QueryHead
from training.losses import HIDDEN
from training.model import Loss, Retrieval
from training.models.mos.experts import FIRST_STRAND, Experts, ExpertStates, joined_strand
from training.models.mos.fusion import Fusion, Gate, fuse
from training.models.mos.router import Router
from training.models.mos.stages import Stage, Stages


class MoS(nn.Module):
    """Mixture of Sequence over any backbone; ``encoder`` replaces the one that ``shape`` describes.

    Three kinds of experts over themes that a router learns are the paper's (arXiv 2604.20858; PAPERS.md [P]),
    the stages [D]; the retrieval form, the loss and the sizes are our choice.

    ``codes`` (K) must cover the pipeline's themes; further ones split themes up, which costs returns their
    strand. ``strands`` (S) themes and a ``window`` of events are mixed with the global state, and
    ``strand_weight`` is that of the strands' own loss.
    """

    def __init__(
        self,
        sizes: Sizes,
        shape: Shape | None = None,
        encoder: SequenceEncoder | None = None,
        *,
        codes: int,
        strands: int = 4,
        window: int = 32,
        fusion: Fusion = "mixture",
        strand_weight: float = 0.5,
        stages: Stages | None = None,
    ) -> None:
        super().__init__()
        shape = shape or Shape()
        self.embed = EventEmbedding(sizes, shape.dim, shape.dropout)
        head = QueryHead(shape.dim, dropout=shape.dropout)
        self.experts = Experts(encoder or shape.encoder(), head, shape.dim, strands, window)
        self.gate = Gate(shape.dim, FIRST_STRAND + strands)
        self.router = Router(codes, shape.dim)
        self.fusion, self.strand_weight = fusion, strand_weight
        self.stages = stages or Stages()

    def on_step(self, step: int, total: int) -> None:
        """Enter the stage of ``step`` (from 0) of ``total``; the fit loop calls it before each step."""
        self.router.stage = self.stages.at(step, total)

    def training_loss(self, batch: Batch) -> Loss:
        """Cross-entropy of the mixture + ``strand_weight`` · that of the strand the target falls in."""
        samples, items = all_targets(batch.rows), self.embed.item_vectors()
        tagged = self.router.tagged(batch.rows, items)
        found = self.experts(self.embed(tagged), tagged, samples)
        joined = joined_strand(found.key, tagged, samples)
        states, log_gates, strand = self._learning(found, joined)
        nll, each_nll = next_item_nll(states, log_gates, items, samples, batch.shared)
        known = trained_items(samples)
        next_item = mean_where(nll, known)
        strand_nll = torch.where(joined, each_nll[:, strand], 0).sum(dim=1)
        in_strand = mean_where(strand_nll, joined.any(dim=1) & known)
        if self.training:
            self.router.learn(tagged, items)
        weight = 0.0 if self.router.stage == Stage.GATE else self.strand_weight
        parts = {"next_item": next_item.detach(), "strand": in_strand.detach()}
        return Loss(next_item + weight * in_strand, parts)

    def score_catalogue(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, V) float32 log-probabilities of every item."""
        return mixture_scores(*self._scoring(rows, samples), self.embed.item_vectors())

    def score_candidates(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, 1 + C) float32 log-probabilities of the candidates."""
        if samples.cand_item is None:
            raise ValueError("these samples have no candidates; give them cand_item")
        return self.score_catalogue(rows, samples).gather(1, samples.cand_item.long())

    def item_vectors(self) -> Tensor:
        """(V, d) vectors to search by inner product."""
        return self.embed.item_vectors()

    def retrieval_vectors(self, rows: Rows, samples: Samples) -> Retrieval:
        """A vector of each expert (N, E, d), weighed by its gate: 0 where it is absent; fused, one of all."""
        states, log_gates = self._scoring(rows, samples)
        return Retrieval(states, log_gates.exp())

    def packed_vectors(self, rows: Rows, samples: Samples, length: int) -> Retrieval:
        """``retrieval_vectors`` from packed strands of ``length`` (T) events: few FLOPs for few samples."""
        tagged = self.router.tagged(rows, self.embed.item_vectors(), samples)
        found = self.experts.packed(self.embed(tagged), tagged, samples, length)
        states, log_gates = fuse(self.fusion, found.states, self.gate(found))
        return Retrieval(states, log_gates.exp())

    def found(self, rows: Rows, samples: Samples) -> ExpertStates:
        """What each expert says of the samples."""
        tagged = self.router.tagged(rows, self.embed.item_vectors())
        states: ExpertStates = self.experts(self.embed(tagged), tagged, samples)
        return states

    def _learning(self, found: ExpertStates, joined: Tensor) -> tuple[Tensor, Tensor, slice]:
        """States and log-gates to learn with, and which of the states are strands for ``joined`` (N, S).

        Where the experts are fused to one state, their own scores are not needed but for the strand that
        is joined: it stands behind the fused state, for all strands, with no weight in the mixture.
        """
        states, log_gates = fuse(self.fusion, found.states, self.gate(found))
        if self.fusion == "mixture":
            return states, log_gates, slice(FIRST_STRAND, None)
        strand = torch.where(joined[..., None], found.states[:, FIRST_STRAND:], 0).sum(dim=1, keepdim=True)
        nothing = torch.full_like(log_gates, HIDDEN)
        return torch.cat([states, strand], dim=1), torch.cat([log_gates, nothing], dim=1), slice(1, 2)

    def _scoring(self, rows: Rows, samples: Samples) -> tuple[Tensor, Tensor]:
        found = self.found(rows, samples)
        return fuse(self.fusion, found.states, self.gate(found))
