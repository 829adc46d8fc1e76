"""The training loader of a run."""

from lightning_fabric import Fabric

from training.fit.batches import batcher
from training.fit.config import Config
from training.fit.data import Opened
from training.loader import Loader, LoaderConfig


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
