"""Small histories with repeated items, as the loader gives them, and a model whose scores are known."""

from collections.abc import Callable

import torch
from torch import Tensor

from tests.training.gold import SPEC, Histories, gold_rows, random_users
from training.batch import Batch, Rows, Samples
from training.gold import arrow_blocks
from training.model import Loss
from training.source import RowSource
from training.splits import EVERYTHING, FOREVER, Split
from training.vocabulary import learn_vocabulary
from training.windows import WindowRule

ITEMS = 23


def histories(seed: int, users: int = 10, longest: int = 120) -> Histories:
    """Random users whose items repeat within and between users."""
    return {
        user: [
            event._replace(item=2 + (at * at * (seed + 3) + event.category) % ITEMS)
            for at, event in enumerate(events)
        ]
        for user, events in random_users(seed, users, longest).items()
    }


def source(users: Histories, rule: WindowRule | None = None, train_end: int = FOREVER) -> RowSource:
    """The loader's rows of these histories."""
    gold = gold_rows(users)
    return RowSource.of_arrow(gold, SPEC, learn_vocabulary(arrow_blocks(gold, SPEC), train_end), rule)


def batches(found: RowSource, split: Split = EVERYTHING, tokens: int = 700) -> list[Batch]:
    """The batches of a split."""
    return list(found.batches(split, tokens))


class Fixed:
    """A model whose scores are a function of what it is asked; counts the questions."""

    def __init__(self, items: int, score: Callable[[Rows, Samples], Tensor]) -> None:
        self.items, self.score, self.asked = items, score, 0

    def training_loss(self, batch: Batch) -> Loss:
        raise NotImplementedError

    def score_catalogue(self, rows: Rows, samples: Samples) -> Tensor:
        self.asked += len(samples.row)
        scores = self.score(rows, samples).clone()
        scores[:, :2] = -torch.inf
        return scores

    def score_candidates(self, rows: Rows, samples: Samples) -> Tensor:
        assert samples.cand_item is not None
        return self.score(rows, samples).gather(1, samples.cand_item.long())


def pseudo(items: int, levels: int = 7) -> Fixed:
    """Scores with many ties that depend on the row's user, the time and the item alone."""

    def score(rows: Rows, samples: Samples) -> Tensor:
        key = rows.user_id[samples.row] % 1_000 + samples.query_ts
        return (
            (key[:, None] * 31 + torch.arange(items) * 17 + key[:, None] * torch.arange(items)) % levels
        ).float()

    return Fixed(items, score)
