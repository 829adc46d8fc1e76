"""The batches that a model learns from: rows, groups of one category, or candidates."""

from collections.abc import Callable

from training.batchers import category_groups, token_batches
from training.batching import Batcher
from training.fit.config import Config
from training.fit.models import Ulim, is_click
from training.groups import GroupRule
from training.vocabulary import TrainVocabulary


def batcher(config: Config, vocabulary: TrainVocabulary) -> Callable[[], Batcher]:
    """Groups of one category for ULIM and its control, candidates for click models, rows for the others."""
    data = config.data
    if isinstance(config.model, Ulim):
        return category_groups(vocabulary, GroupRule(), negatives=data.negatives)
    if not is_click(config.model):
        return token_batches(vocabulary, tokens=data.tokens, negatives=data.negatives)
    asked = data.candidates
    return token_batches(
        vocabulary,
        tokens=data.tokens,
        negatives=0,
        candidates=(asked.negatives, asked.drawn),
        per_row=asked.targets_per_row,
    )
