"""A small model, a loader in memory and a run of both: what the loop's tests train."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from training.batch import Batch, Rows, Samples, all_targets
from training.fit import random_state
from training.fit.config import Config
from training.fit.loop import Outcome, Training, Validate
from training.fit.run_folder import RunFolder
from training.fit.signals import Stop
from training.layers.embed import EventEmbedding, Sizes
from training.layers.encoder import Encoder
from training.losses import full_log_prob
from training.model import Loss

ITEMS, LENGTH = 12, 6


def rows(count: int, seed: int) -> Rows:
    """Random rows of unequal lengths, every place but the first a target."""
    draw = torch.Generator().manual_seed(seed)
    length = torch.randint(2, LENGTH + 1, (count,), generator=draw)
    place = torch.arange(LENGTH)
    real = place < length[:, None]
    item = torch.randint(2, ITEMS, (count, LENGTH), generator=draw) * real
    blank = torch.zeros(count, LENGTH, dtype=torch.int32)
    target = real & (place > 0)
    ids = torch.arange(count)
    return Rows(
        item=item.int(),
        category=blank,
        type=blank,
        mode=blank,
        session=real.int(),
        theme=blank,
        session_theme=blank,
        ts=place.expand(count, -1).contiguous(),
        length=length.int(),
        read_at=torch.where(target, place - 1, -1).int(),
        query_gap=blank.to(torch.int8),
        new_session=blank.bool(),
        loss_mask=target,
        row_id=ids,
        user_id=ids,
    )


@dataclass
class MemoryLoader:
    """Batches of ``size`` rows, reshuffled every epoch; each rank takes every ``ranks``-th."""

    held: Rows
    size: int
    seed: int = 0
    rank: int = 0
    ranks: int = 1
    shuffle: bool = True
    after: Any = None  # called with the number of batches handed out
    epoch: int = 0
    place: int = 0
    handed: int = field(default=0, compare=False)

    def __iter__(self) -> Iterator[Batch]:
        count = len(self.held.length)
        order = torch.arange(count)
        if self.shuffle:
            order = torch.randperm(count, generator=torch.Generator().manual_seed(self.seed + self.epoch))
        own = torch.split(order[self.rank :: self.ranks], self.size)
        while count and self.place < len(own):
            chosen = own[self.place]
            self.place += 1
            self.handed += 1
            if self.after:
                self.after(self.handed)
            yield Batch(self.held.map(lambda tensor: tensor[chosen]))  # noqa: B023
        self.epoch, self.place = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "place": self.place}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.place = state["epoch"], state["place"]


class ToyModel(nn.Module):
    """A one-layer transformer; ``dropout`` makes it depend on the random state."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.embed = EventEmbedding(Sizes(ITEMS, 2, 2, 5), 8, dropout)
        self.encoder = Encoder(8, 1, 1, 2, dropout)
        self.stages: list[tuple[int, int]] = []

    def on_step(self, step: int, total: int) -> None:
        self.stages.append((step, total))

    def training_loss(self, batch: Batch) -> Loss:
        samples = all_targets(batch.rows)
        states = self.encoder(self.embed(batch.rows))[samples.row, samples.end.long() - 1]
        loss = -full_log_prob(states, self.embed.item_vectors(), samples.item).mean()
        return Loss(loss, {"next": loss.detach()})

    def score_catalogue(self, held: Rows, samples: Samples) -> Tensor:
        raise NotImplementedError

    def score_candidates(self, held: Rows, samples: Samples) -> Tensor:
        raise NotImplementedError


def config(folder: Path, **changes: Any) -> Config:
    """A configuration of few steps; changes are ``section__key=value``."""
    plain: dict[str, Any] = {
        "output": str(folder),
        "log_every": 5,
        "data": {"warehouse": "none", "version": 0},
        "model": {"name": "sasrec"},
        "training": {"steps": 24},
        "validation": {"every": 6, "metric": "ndcg_10", "patience": 0},
        "checkpoints": {"every": 5},
        "hardware": {"accelerator": "cpu"},
    }
    for key, value in changes.items():
        *above, last = key.split("__")
        section = plain
        for name in above:
            section = section[name]
        section[last] = value
    return Config.model_validate(plain)


def held_out_loss(model: nn.Module, watch: Any) -> dict[str, float]:
    """Mean loss on rows that were not trained on; draws at random, as an evaluation might."""
    torch.rand(3)
    losses = [float(model.training_loss(batch).total) for batch in watch(MemoryLoader(rows(20, 99), 10))]  # type: ignore[operator]
    loss = sum(losses) / len(losses)
    return {"loss": loss, "ndcg_10": math.exp(-loss)}


def train(
    folder: Path,
    own: Config,
    *,
    stop: Stop | None = None,
    loader: MemoryLoader | None = None,
    model: ToyModel | None = None,
    validate: Validate = held_out_loss,
    fabric: Fabric | None = None,
) -> tuple[Outcome, ToyModel]:
    """A run of the toy model, resumed where its folder holds a checkpoint."""
    fabric = fabric or Fabric(accelerator="cpu", devices=1, precision="32-true")
    random_state.seed_everything(own.seed)
    model = model or ToyModel()
    loader = loader or MemoryLoader(rows(50, 1), 8)
    run = RunFolder(folder)
    run.begin("", {}, resume=True)
    training = Training(
        fabric, model, loader=loader, validate=validate, config=own, folder=run, stop=stop or Stop()
    )
    return training.run(), model


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Equal to the bit."""
    theirs = other.state_dict()
    return all(torch.equal(weight, theirs[name]) for name, weight in one.state_dict().items())
