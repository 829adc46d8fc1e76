"""The training loader that a model needs: its rows, groups or candidates."""

from collections.abc import Callable

from lightning_fabric import Fabric

from training.batching import Batcher
from training.fit.config import Config
from training.fit.data import Opened
from training.fit.models import Ulim, is_click
from training.groups import GroupRule
from training.loader import Loader, LoaderConfig, category_groups, token_batches
from training.vocabulary import TrainVocabulary


def training_loader(opened: Opened, config: Config, fabric: Fabric) -> Loader:
    """Batches of the training window for this rank."""
    data = config.data
    return Loader(
        opened.table,
        opened.vocabulary,
        opened.splits.train,
        batches=batcher(config, opened.vocabulary),
        rule=opened.rule,
        config=LoaderConfig(
            seed=config.seed,
            rank=fabric.global_rank,
            world=fabric.world_size,
            pool=data.reader_pool,
            workers=data.reader_workers,
            pin=fabric.device.type == "cuda",
        ),
    )


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
