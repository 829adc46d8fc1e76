"""A fitted model with the test targets that it can be asked again: what usage and users are computed from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from training.batch import Batch, Rows, Samples
from training.evaluate.queries import pieces, without_answers
from training.evaluate.run import on_device
from training.evaluate.sessions import SessionFacts
from training.evaluate.slices import slice_columns
from training.fit.config import Config
from training.vocabulary import TrainVocabulary

PLACES = 1 << 14
"""Places of the rows that are asked about at once, padding included: bounds the memory of attention."""


@dataclass(frozen=True)
class Asked:
    """A model, and the batches of targets that it was tested on."""

    label: str
    model: nn.Module
    config: Config
    vocabulary: TrainVocabulary
    batches: Sequence[Batch]
    facts: SessionFacts

    @property
    def targets(self) -> int:
        """How many there are, in the order of the batches."""
        return sum(len(on_device(batch, "cpu")[1].row) for batch in self.batches)


class Piece(NamedTuple):
    """Some of the targets: the rows they need, the questions, and the questions with their answers."""

    at: NDArray[np.int64]  # (N,) place among all targets
    rows: Rows
    questions: Samples  # without item, category and place of the target
    targets: Samples
    columns: pd.DataFrame  # facts for slices


def pick(asked: Asked, places: NDArray[np.int64]) -> Iterator[Piece]:
    """The targets at ``places`` (ascending numbers in the order of the batches), in pieces."""
    before = 0
    for batch in asked.batches:
        rows, samples = on_device(batch, "cpu")
        own = places[(places >= before) & (places < before + len(samples.row))] - before
        if len(own):
            index = torch.from_numpy(own)
            some = samples.map(lambda tensor, keep=index: tensor[keep])  # type: ignore[misc]
            columns = slice_columns(rows, some, asked.facts)
            done = 0
            for few, part in pieces(rows, some, rows.item.shape[1], PLACES):
                size = slice(done, done + len(part.row))
                yield Piece(own[size] + before, few, without_answers(part), part, columns[size])
                done = size.stop
        before += len(samples.row)


def sample(asked: Asked, count: int, seed: int = 0) -> NDArray[np.int64]:
    """At most ``count`` targets, drawn without replacement and always the same; ascending."""
    total = asked.targets
    drawn = np.random.default_rng(seed).permutation(total)[:count]
    return np.sort(drawn).astype(np.int64)
