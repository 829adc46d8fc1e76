"""What every model offers to the fit loop and the evaluation, whatever it learns from."""

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

from training.batch import Batch, Rows, Samples


class Retrieval(NamedTuple):
    """What N users are searched for by: E vectors each, whose results are added up by weight.

    An item's share for a user is Σ_e weight_e · softmax_e, the softmax of vector_e · item vector over the
    items that vector e searches: all trained ones (codes from 2), or those of its category.
    """

    vectors: Tensor  # (N, E, d)
    weight: Tensor  # (N, E) float32, 0 for a vector that is none
    category: Tensor | None = None  # (N, E) int64 code of the category searched, 0 for all; None: all


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


@runtime_checkable
class Searchable(Protocol):
    """A model whose best items a search by inner product finds.

    The shares of ``Retrieval`` are the softmax of ``score_catalogue``, but for one factor a sample where only
    some categories are searched: the order is the same.
    """

    def item_vectors(self) -> Tensor:
        """(V, d) vectors of the items; those of codes 0 and 1 mean nothing."""
        ...

    def retrieval_vectors(self, rows: Rows, samples: Samples) -> Retrieval:
        """What to search the items with, for every sample."""
        ...


def as_model(module: nn.Module) -> Model:
    """The module as what it offers; TypeError where it offers less."""
    if not isinstance(module, Model):
        raise TypeError(f"{type(module).__name__} lacks a method of training.model.Model")
    return module
