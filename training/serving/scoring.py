"""What a model answers: scores of the catalogue or of candidates, and the strands that they rest on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Final

import torch
from torch import Tensor, nn

from features.codes import FIRST_INDEX, NO_POSITION, PADDING
from features.spec import FamilySpec
from training.batch import Rows, Samples
from training.layers.gather import recent_places
from training.layers.objective import mixture_scores
from training.model import as_model
from training.models.mos import MoS, Stage
from training.models.mos.experts import FIRST_STRAND
from training.models.mos.fusion import fuse
from training.models.ulim.history import ranks_in_category
from training.models.ulim.model import SHORT_SHARE, Ulim
from training.strands import latest, strands

SHOWN_ITEMS: Final = 10
"""Events of a strand that an answer names, the newest (our choice)."""

SHOWN_CATEGORIES: Final = 4
"""Categories that an answer of ULIM names, the most probable (our choice)."""


@dataclass(frozen=True)
class Strand:
    """A strand that an answer rests on, of N questions."""

    family: str  # recent, window, theme, category; code: a theme of the model's own
    key: Tensor  # (N,) int64 code of the theme or category, 0 where there is no such strand or it has no key
    present: Tensor  # (N,) bool
    weight: Tensor | None  # (N,) float32 its share in the answer, where the model has one
    places: Tensor  # (N, T) places in the row, ascending, -1 where empty


@dataclass(frozen=True)
class Scored:
    """Scores of N questions and what they rest on, the strands of one question newest first."""

    scores: Tensor  # (N, V) float32; codes 0 and 1 are -inf
    strands: tuple[Strand, ...]


@singledispatch
def scored(model: nn.Module, rows: Rows, samples: Samples) -> Scored:
    """Scores of the catalogue; a model without strands of its own reads one, the row's events."""
    return Scored(as_model(model).score_catalogue(rows, samples), (_recent(rows, samples),))


@scored.register
def _(model: MoS, rows: Rows, samples: Samples) -> Scored:
    items = model.embed.item_vectors()
    tagged = model.router.tagged(rows, items)
    found = model.experts(model.embed(tagged), tagged, samples)
    log_gates = model.gate(found)
    scores = mixture_scores(*fuse(model.fusion, found.states, log_gates), items)
    weight = log_gates.exp()
    recent = replace(_recent(rows, samples), weight=weight[:, 0])
    window = replace(_recent(rows, samples, model.experts.window), family="window", weight=weight[:, 1])
    family = "theme" if model.router.stage == Stage.THEMES else "code"
    own = strands(tagged, samples.row, samples.end, FamilySpec("theme", model.experts.strands, SHOWN_ITEMS))
    themed = [
        Strand(family, own.key[:, at], own.key[:, at] > 0, weight[:, FIRST_STRAND + at], own.pos[:, at])
        for at in range(model.experts.strands)
    ]
    return Scored(scores, (recent, window, *themed))


@scored.register
def _(model: Ulim, rows: Rows, samples: Samples) -> Scored:
    short = torch.full(samples.end.shape, SHORT_SHARE)
    category, log_prob = model.categories(rows, samples, SHOWN_CATEGORIES)
    rank = ranks_in_category(rows, samples, category, rows.item.shape[1])  # (N, K, L)
    long = []
    for at in range(category.shape[1]):
        places = latest(rank[:, at] > 0, SHOWN_ITEMS).flip(1)
        known = (category[:, at] >= FIRST_INDEX) & (places[:, -1] >= 0)
        weight = (1 - SHORT_SHARE) * log_prob[:, at].exp()
        long.append(Strand("category", category[:, at], known, weight, places))
    scores = model.score_catalogue(rows, samples)
    return Scored(scores, (replace(_recent(rows, samples), weight=short), *long))


def candidate_scores(
    model: nn.Module, rows: Rows, samples: Samples, candidates: Sequence[Sequence[int]], category: Tensor
) -> tuple[list[list[float]], Scored]:
    """Scores of each question's candidate codes, for models that rank given candidates only.

    ``category`` (V,) int32 is that of each item.
    """
    width = max(map(len, candidates))
    padded = torch.full((len(candidates), width), PADDING, dtype=torch.int32)
    for at, codes in enumerate(candidates):
        padded[at, : len(codes)] = torch.tensor(codes, dtype=torch.int32)
    asked = replace(samples, cand_item=padded, cand_category=category[padded.long()])
    found = as_model(model).score_candidates(rows, asked).tolist()
    values = [scores[: len(codes)] for scores, codes in zip(found, candidates, strict=True)]
    return values, Scored(torch.empty(len(candidates), 0), (_recent(rows, samples),))


def best(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Codes and scores (count,) of the best of ``scores`` (V,), best first, equal ones by code.

    >>> best(torch.tensor([float("-inf"), 1.0, 3.0, 3.0, 2.0]), 2)[0].tolist()
    [2, 3]
    """
    count = min(count, int((scores > -torch.inf).sum()))
    if not count:
        return torch.zeros(0, dtype=torch.int64), scores[:0]
    least = scores.topk(count).values[-1]
    codes = (scores >= least).nonzero()[:, 0]
    order = scores[codes].argsort(descending=True, stable=True)[:count]
    return codes[order], scores[codes[order]]


def _recent(rows: Rows, samples: Samples, length: int | None = None) -> Strand:
    """The latest events, all of the row or ``length`` of them."""
    most = min(SHOWN_ITEMS, length or SHOWN_ITEMS)
    places = recent_places(samples.end, most)
    blank = torch.full_like(samples.row, PADDING)
    return Strand("recent", blank, samples.end > 0, None, places.clamp(min=NO_POSITION))
