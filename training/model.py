"""What every model offers to the fit loop and the evaluation, whatever it learns from."""

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

from training.batch import Batch, Rows, Samples


class Loss(NamedTuple):
    """What to minimise, and its parts for the log (detached scalars)."""

    total: Tensor
    parts: dict[str, Tensor]


@runtime_checkable
class Model(Protocol):
    """A next-item model. V is the size of the training vocabulary, codes 0 and 1 included."""

    def training_loss(self, batch: Batch) -> Loss:
        """Mean loss over the batch's targets."""
        ...

    def score_catalogue(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, V) float32 scores of every item for every sample; codes 0 and 1 get -inf."""
        ...

    def score_candidates(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, 1 + C) float32 scores of the samples' candidates."""
        ...


def as_model(module: nn.Module) -> Model:
    """The module as what it offers; TypeError where it offers less."""
    if not isinstance(module, Model):
        raise TypeError(f"{type(module).__name__} lacks a method of training.model.Model")
    return module
