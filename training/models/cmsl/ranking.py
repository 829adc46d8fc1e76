"""CMSL for ranking: the candidate is one of the non-sequence tokens, so every block reads it."""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.checkpoint import checkpoint

from features.codes import FIRST_INDEX
from features.spec import FamilySpec
from training.batch import Batch, Rows, Samples
from training.layers.dropout import Dropout
from training.layers.embed import INIT_STD, EventEmbedding, Sizes
from training.layers.objective import hide_untrained
from training.layers.query import QueryEmbedding
from training.model import Loss
from training.models.cmsl.config import CmslConfig
from training.models.cmsl.encoder import CmslEncoder, learned_tokens, skip_connections
from training.models.cmsl.sequences import GatedSum, aligned, latest
from training.strands import strands

PLACES = 1 << 17
"""Places encoded at once, over candidates and their histories (our choice)."""


class CmslRanker(nn.Module):
    """Logit that a target is the candidate, from the non-sequence tokens of all blocks.

    These are the candidate, what is known of the query, and m - 2 that are the same for everyone. A sample
    reads its latest ``history`` events, and each block is summarised at their end. Every candidate takes a
    pass of its own: give a row at most four targets and a target few candidates (TRAINING.md).
    """

    item_category: Tensor

    def __init__(
        self,
        sizes: Sizes,
        item_category: Tensor,
        config: CmslConfig | None = None,
        *,
        history: int = 128,
        families: tuple[FamilySpec, ...] = (),
    ) -> None:
        """``item_category`` (V,) holds each item's category; strands of ``families`` are extra sequences."""
        super().__init__()
        config = config or CmslConfig()
        if config.tokens < 3:
            raise ValueError(f"CMSL ranks with a candidate, a query and more: tokens {config.tokens} < 3")
        self.history, self.families = history, families
        self.register_buffer("item_category", item_category.int())
        self.embed = EventEmbedding(sizes, config.dim, config.dropout)
        self.sum = GatedSum(config.dim, 1 + sum(family.strands for family in families))
        self.nothing = nn.Parameter(torch.randn(config.dim) * INIT_STD)  # the event of an empty history
        self.query = QueryEmbedding(config.dim)
        self.norm = nn.LayerNorm(config.dim)
        self.tokens = learned_tokens(config.tokens - 2, config.dim)
        self.encoder = CmslEncoder(config, last_events=False)
        self.skip = skip_connections(config.dim, (1 + config.blocks) * config.tokens)
        self.logit = nn.Sequential(nn.GELU(), Dropout(config.dropout), nn.Linear(config.dim, 1))

    def training_loss(self, batch: Batch) -> Loss:
        """Mean log loss over the candidates of samples with a trained item; column 0 is the positive."""
        samples = batch.samples
        if samples is None or samples.cand_item is None:
            raise ValueError("CMSL ranks candidates; give it a batch with samples that have cand_item")
        logits = self._logits(batch.rows, samples, samples.cand_item)
        label = torch.zeros_like(logits)
        label[:, 0] = 1
        known = (samples.cand_item >= FIRST_INDEX) & (samples.cand_item[:, :1] >= FIRST_INDEX)
        losses = binary_cross_entropy_with_logits(logits, label, reduction="none")
        total = torch.where(known, losses, 0).sum() / known.sum().clamp(min=1)
        return Loss(total, {"log_loss": total.detach()})

    def score_candidates(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, 1 + C) float32 logits of the candidates."""
        if samples.cand_item is None:
            raise ValueError("these samples have no candidates; give them cand_item")
        return self._logits(rows, samples, samples.cand_item)

    def score_catalogue(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, V) float32 logits of every item; V passes a sample, for small catalogues and checks."""
        every = torch.arange(len(self.item_category), device=samples.row.device)
        return hide_untrained(self._logits(rows, samples, every.expand(len(samples.row), -1)))

    def _logits(self, rows: Rows, samples: Samples, candidate: Tensor) -> Tensor:
        """(N, C) float32 logits of ``candidate`` (N, C) item codes."""
        events, length = self._events(rows, samples)
        query = self.query(samples.query_gap, samples.new_session)  # (N, d)

        def encode(pairs: Tensor) -> Tensor:
            sample = pairs // candidate.shape[1]
            item = candidate.reshape(-1)[pairs].long()
            named = self.embed.item(item) + self.embed.category(self.item_category[item])
            own = self.norm(torch.stack([named, query[sample]], dim=1))  # (P, 2, d)
            tokens = torch.cat([own, self.tokens.to(own.dtype).expand(len(pairs), -1, -1)], dim=1)
            _, made = self.encoder(events[sample], tokens, length[sample])
            logit: Tensor = self.logit(self.skip(torch.cat([tokens, *made], dim=1)))
            return logit[:, 0].float()

        pairs = torch.arange(candidate.numel(), device=candidate.device)
        slices = torch.split(pairs, max(1, PLACES // events.shape[1]))
        if len(slices) > 1 and torch.is_grad_enabled():  # encoded again for gradients, a slice at a time
            found = [checkpoint(encode, some, use_reentrant=False) for some in slices]
        else:
            found = [encode(some) for some in slices]
        return torch.cat(found).view(candidate.shape)

    def _events(self, rows: Rows, samples: Samples) -> tuple[Tensor, Tensor]:
        """The raw sequence (N, T, d) of each sample and its length (N,), which is at least 1."""
        row, end = samples.row.long(), samples.end.long()
        history = min(self.history, rows.item.shape[1])
        found = [aligned(strands(rows, row, end, family).pos, end, history) for family in self.families]
        places = torch.cat([latest(end, history), *found], dim=1)  # (N, sequences, T)
        events = self.sum(self.embed(rows), places, row)
        empty = (end == 0)[:, None, None] & (torch.arange(history, device=end.device) == 0)[:, None]
        return torch.where(empty, self.nothing.to(events.dtype), events), end.clamp(1, history)
