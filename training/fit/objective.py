"""The model's training loss as the ``forward`` of a module: what DDP, autocast and the compiler act on."""

from typing import Any

import torch
from torch import Tensor, nn

from features.codes import FIRST_INDEX
from training.batch import Batch
from training.model import Loss


class Sealed:
    """A batch that passes through Fabric's and DDP's argument handling as it is.

    Both look for tensors in whatever collection they are given, and Fabric refuses frozen dataclasses.
    The loop has already moved the batch, and no float in it may be cast.
    """

    __slots__ = ("batch",)

    def __init__(self, batch: Batch) -> None:
        self.batch = batch


class Objective(nn.Module):
    """``model.training_loss`` as a module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, sealed: Sealed) -> Loss:
        """Mean loss over the batch's targets, and its parts."""
        model: Any = self.model
        loss: Loss = model.training_loss(sealed.batch)
        return loss


def objective(model: nn.Module, compiled: bool) -> nn.Module:
    """The objective, compiled where asked; sizes that vary between batches become symbolic."""
    module = Objective(model)
    if not compiled:
        return module
    whole: Any = torch.compile(module)
    result: nn.Module = whole
    return result


def targets(batch: Batch) -> int:
    """How many targets the mean of a batch's loss is over: those with a trained item."""
    if batch.samples is not None:
        trained = batch.samples.item >= FIRST_INDEX
        return int((trained if batch.groups is None else trained & batch.groups.mask).sum())
    return int((batch.rows.loss_mask & (batch.rows.item >= FIRST_INDEX)).sum())


def on_step(module: nn.Module, step: int, steps: int) -> None:
    """Tell a model that trains in stages which step comes next."""
    hook = getattr(module, "on_step", None)
    if hook is not None:
        hook(step, steps)


class Sums:
    """Running means of losses, kept on the device so that no step waits for the GPU."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._weights: dict[str, float] = {}

    def add(self, loss: Loss, weight: float) -> None:
        """Count a batch's loss and parts with its weight."""
        for name, value in {"loss": loss.total.detach(), **loss.parts}.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value * weight
            self._weights[name] = self._weights.get(name, 0.0) + weight

    def means(self) -> dict[str, float]:
        """The mean of each since the start; waits for the device."""
        return {name: float(total) / self._weights[name] for name, total in self._sums.items()}
