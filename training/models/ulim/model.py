"""ULIM: a short-term vector for the whole catalogue, long-term vectors for one category each.

Source: PAPERS.md, ULIM [D]. Loss ``alpha * L_long + beta * L_short`` as there; the next category's loss
is added, since PGIN shares no parameter with the rest. A target whose category the user never touched
has no long-term vector of its own: it trains the short one only.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from features.codes import FIRST_INDEX, PADDING
from training.batch import Batch, Groups, Rows, Samples
from training.groups import LONG, SHORT
from training.layers.embed import EventEmbedding, Sizes
from training.layers.encoder import Shape
from training.layers.gather import gather_events, recent_places
from training.layers.objective import hide_untrained, mean_where, next_item_nll, trained_items
from training.losses import HIDDEN, full_log_probs
from training.model import Loss, Retrieval
from training.models.ulim.catalogue import CatalogueByCategory, by_category
from training.models.ulim.encoders import ShortTerm, TargetAttention
from training.models.ulim.history import ranks_in_category, ranks_of_places
from training.models.ulim.loss import in_category_softmax
from training.models.ulim.pgin import Pgin

SHORT_SHARE = 0.5
"""Share of the short-term vector in the catalogue's scores, as in the cascade's candidates (our choice)."""


class Interests(NamedTuple):
    """What N users want: now, and within K categories each."""

    short: Tensor  # (N, d)
    long: Tensor  # (N, K, d); the short vector where the user has no event of the category
    seen: Tensor  # (N, K) bool: the user has visible events of the category


class Ulim(nn.Module):
    """Both interests over one event embedding, and PGIN to say which categories to look in.

    ``item_category`` (V,) gives each item's category. ``searched`` categories get a long-term vector when
    the catalogue is scored. ``alpha`` and ``beta`` weigh the long and the short loss.
    """

    def __init__(
        self,
        sizes: Sizes,
        item_category: Tensor,
        shape: Shape | None = None,
        *,
        category_dim: int = 32,
        searched: int = 25,
        alpha: float = 1.0,
        beta: float = 1.0,
    ) -> None:
        super().__init__()
        shape = shape or Shape()
        self.searched, self.alpha, self.beta = searched, alpha, beta
        self.events = EventEmbedding(sizes, shape.dim, shape.dropout)
        self.short = ShortTerm(shape)
        self.long = TargetAttention(shape.dim, shape.heads, LONG, shape.ff, shape.dropout)
        self.pgin = Pgin(sizes.categories, category_dim, dropout=shape.dropout)
        self.catalogue = CatalogueByCategory(item_category, sizes.categories)

    def item_vectors(self) -> Tensor:
        """(V, d) vectors to search by inner product."""
        return self.events.item_vectors()

    def interests(self, rows: Rows, samples: Samples, category: Tensor) -> Interests:
        """Short-term vectors, and long-term ones for ``category`` (N, K)."""
        events = self.events(rows)  # (B, L, d)
        short = self._short(events, samples, recent_places(samples.end, SHORT))
        rank = ranks_in_category(rows, samples, category, LONG)  # (N, K, L)
        long = self.long(short, events[samples.row], rank)
        return Interests(short, long, (rank > 0).any(-1))

    def categories(self, rows: Rows, samples: Samples, count: int) -> tuple[Tensor, Tensor]:
        """The most probable next categories (N, count) int64, best first, and their log-probabilities."""
        found = self.pgin(rows, samples).topk(min(count, self.pgin.size), dim=1)
        return found.indices, found.values

    def training_loss(self, batch: Batch) -> Loss:
        """Long, short and category loss of a batch with groups; ValueError where it has none."""
        groups, samples = batch.groups, batch.samples
        if groups is None or samples is None:
            raise ValueError("ULIM learns from batches grouped by category; ask the loader for groups")
        events = self.events(batch.rows)
        short = self._short(events, samples, groups.short_pos)
        trained = trained_items(samples) & groups.mask
        gates = short.new_zeros(len(short), 1, dtype=torch.float32)
        short_nll, _ = next_item_nll(short[:, None], gates, self.item_vectors(), samples, batch.shared)
        named = replace(samples, category=self.catalogue.of_targets(samples))
        parts = {
            "long": mean_where(self._long_nll(events, short, samples, groups), trained & _has_long(groups)),
            "short": mean_where(short_nll, trained),
            "category": mean_where(
                self.pgin.loss(batch.rows, named, groups.pointer_category),
                groups.mask & (named.category >= FIRST_INDEX),
            ),
        }
        total = self.alpha * parts["long"] + self.beta * parts["short"] + parts["category"]
        return Loss(total, {name: part.detach() for name, part in parts.items()})

    def score_catalogue(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, V) float32 log-probabilities of the items, a mixture of two ways to choose one (our choice).

        ``½ softmax(short · E) + ½ Σ_c P(c) softmax_c(long_c · E)``: the long-term vectors are only trained
        to compare items within a category, so their scores need PGIN's probability of the category before
        they compare across. The sum runs over the ``searched`` most probable categories.
        """
        category, log_prob = self.categories(rows, samples, self.searched)
        found = self.interests(rows, samples, category)
        short = full_log_probs(found.short, self.item_vectors()) + math.log(SHORT_SHARE)
        long = self._hierarchical(found.long, category, log_prob) + math.log1p(-SHORT_SHARE)
        return hide_untrained(torch.logaddexp(short, long))

    def retrieval_vectors(self, rows: Rows, samples: Samples) -> Retrieval:
        """(N, 1 + K, d): the short-term vector for all items, K = ``searched`` long-term ones.

        They weigh ½ and ½ P(category), as in ``score_catalogue``; a category without items weighs 0.
        """
        category, log_prob = self.categories(rows, samples, self.searched)
        found = self.interests(rows, samples, category)
        short = torch.full_like(log_prob[:, :1], SHORT_SHARE)
        long = (1 - SHORT_SHARE) * log_prob.exp() * (self.catalogue.counts[category] > 0)
        everything = torch.full_like(category[:, :1], PADDING)
        return Retrieval(
            torch.cat([found.short[:, None], found.long], dim=1),
            torch.cat([short, long], dim=1),
            torch.cat([everything, category], dim=1),
        )

    def score_candidates(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, 1 + C) float32: the catalogue's scores of the candidates."""
        if samples.cand_item is None:
            raise ValueError("these samples have no candidates; give them cand_item")
        return self.score_catalogue(rows, samples).gather(1, samples.cand_item.long())

    def _short(self, events: Tensor, samples: Samples, pos: Tensor) -> Tensor:
        recent, valid = gather_events(events, samples.row, pos[:, -events.shape[1] :])  # (N, 100, d)
        out: Tensor = self.short(recent, valid, samples.query_gap, samples.new_session)
        return out

    def _long_nll(self, events: Tensor, short: Tensor, samples: Samples, groups: Groups) -> Tensor:
        """(N,) loss of each sample's long-term vector within its own category."""
        pos = groups.long_pos[:, -events.shape[1] :]  # (N, 64), fewer where rows are shorter
        own, _ = gather_events(events, samples.row, pos)
        long = self.long(short, own, ranks_of_places(pos)[:, None])[:, 0]
        return in_category_softmax(
            long,
            self.item_vectors(),
            samples.item,
            groups.positive_logq,
            negative=groups.negative,
            logq=groups.logq,
        )

    def _hierarchical(self, long: Tensor, category: Tensor, log_prob: Tensor) -> Tensor:
        """(N, V) float32 ``log P(c) + log softmax_c(long_c · E)`` for items of ``category`` (N, K)."""
        table = self.item_vectors()
        scores = log_prob.new_full((len(category), len(table)), HIDDEN)
        searched = category.shape[1]
        for name, places in by_category(category.flatten()):
            items, sample = self.catalogue.items(name), places // searched
            if len(items) == 0:
                continue
            logits = long.flatten(0, 1)[places] @ table[items].T.to(long.dtype)  # (n, items)
            within = log_softmax(logits.float(), dim=1) + log_prob.flatten()[places, None]
            scores[sample[:, None], items] = within
        return scores


def _has_long(groups: Groups) -> Tensor:
    """(N,) bool: the sample has visible events of its category."""
    return groups.long_pos[:, -1] >= 0
