"""The batchers that models ask for, by a vocabulary: rows with their targets, or groups of one category."""

from collections.abc import Callable

import torch

from training.batching import Asked, Batcher, TokenBatches
from training.groups import GroupBatches, GroupRule
from training.in_category import InCategory
from training.negatives import Candidates, Kind, SharedNegatives
from training.vocabulary import TrainVocabulary


def token_batches(  # the parameters are those of the config's [data]
    vocabulary: TrainVocabulary,
    *,
    tokens: int = 4096,
    negatives: int = 512,
    pool_rows: int = 8192,
    candidates: tuple[Kind, int] | None = None,
    per_row: int = 0,
) -> Callable[[], Batcher]:
    """Batches of about ``tokens`` places with all their targets, or ``per_row`` of each row, as samples.

    ``negatives`` shared ones a batch (0: none); ``candidates``: kind and number of each sample's own.
    """
    count = torch.tensor(vocabulary.items.count)
    category = torch.tensor(vocabulary.item_category)
    asked = Asked(
        SharedNegatives(count, negatives) if negatives else None,
        Candidates(candidates[0], count, category, candidates[1]) if candidates else None,
        per_row,
    )
    return lambda: TokenBatches(tokens, pool_rows, asked)


def category_groups(
    vocabulary: TrainVocabulary, rule: GroupRule | None = None, *, negatives: int = 512
) -> Callable[[], Batcher]:
    """Batches grouped by category (ULIM), with ``negatives`` shared ones besides (0: none)."""
    count = torch.tensor(vocabulary.items.count)
    in_category = InCategory(count, torch.tensor(vocabulary.item_category))
    shared = SharedNegatives(count, negatives) if negatives else None
    return lambda: GroupBatches(rule or GroupRule(), in_category, shared)
