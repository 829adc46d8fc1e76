"""Rows, samples with candidates and small models that the tests share."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from features.spec import FamilySpec
from tests.features.tagged import random_history
from tests.oracles.strands import Event
from tests.training.rows import rows_of
from training.batch import Rows, Samples, all_targets
from training.layers.embed import Sizes
from training.models.cmsl.config import CmslConfig
from training.models.cmsl.ranking import CmslRanker
from training.models.cmsl.retrieval import Cmsl

SIZES = Sizes(items=102, categories=32, types=6, modes=6)
SMALL = CmslConfig(
    dim=16, strands=2, tokens=4, intents=2, heads=2, strand_heads=2, dim_head=4, hidden=8, dropout=0.1
)
FAMILIES = (FamilySpec("theme", 2, 5), FamilySpec("category", 1, 12))


def random_histories(seed: int, users: int = 4) -> list[list[Event]]:
    """Histories with ties, flips of theme within sessions and returns, 1 to 40 events long."""
    rng = np.random.default_rng(seed)
    found = [random_history(rng, int(rng.integers(1, 41))) for _ in range(users - 1)]
    return [*found, random_history(rng, 40)]


def random_rows(seed: int) -> Rows:
    """Rows of ``random_histories`` with two padded places, in which targets that see nothing count too."""
    rows = rows_of(random_histories(seed), pad=2)
    items = torch.randint(2, SIZES.items, rows.item.shape, generator=torch.Generator().manual_seed(seed))
    real = rows.item > 0
    return replace(rows, item=torch.where(real, items, 0).int(), loss_mask=real)


def with_candidates(rows: Rows, count: int = 3, seed: int = 0) -> Samples:
    """All targets of the rows, each with ``count`` random negatives."""
    samples = all_targets(rows)
    draw = torch.Generator().manual_seed(seed)
    negative = torch.randint(2, SIZES.items, (len(samples.row), count), generator=draw)
    items = torch.cat([samples.item[:, None], negative], dim=1).int()
    return replace(samples, cand_item=items, cand_category=item_category()[items.long()])


def item_category() -> Tensor:
    """(V,) category of each item."""
    return torch.arange(SIZES.items).remainder(30).int() + 2


def retrieval(config: CmslConfig = SMALL) -> Cmsl:
    """A model with random weights, in evaluation mode."""
    torch.manual_seed(0)
    return Cmsl(SIZES, config).eval()


def ranker(config: CmslConfig = SMALL, history: int = 9, families: tuple[FamilySpec, ...] = ()) -> CmslRanker:
    """A model with random weights, in evaluation mode."""
    torch.manual_seed(0)
    return CmslRanker(SIZES, item_category(), config, history=history, families=families).eval()
