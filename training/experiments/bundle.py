"""The data of a grid as plain files: expanded once from a warehouse, shared by every cell.

A cell trains for minutes on data that fits in memory, and a rented machine with a GPU may hold neither
Petastorm nor Delta. So the rows of the three splits are written once (``prepare``), as NumPy arrays under
the batch contract, with the vocabulary and the facts that slices need. ``python -m training.fit`` reads
the table itself, through Petastorm.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.batch import Batch, Rows, all_targets
from training.errors import DataError
from training.evaluate.sessions import SessionFacts
from training.fit.config import Data
from training.vocabulary import TrainVocabulary

_ABOUT, _VOCABULARY, _ROWS, _FACTS = "about.json", "vocabulary.parquet", "rows-{}.npz", "facts.npz"
_ARRAYS = [field.name for field in fields(Rows)]
_FACT_ARRAYS = [field.name for field in fields(SessionFacts)]


@dataclass(frozen=True)
class Bundle:
    """One data set of a grid: rows to learn from by padded length, held-out targets, and their labels."""

    train: Mapping[int, Rows]
    valid: list[Batch]
    test: list[Batch]
    vocabulary: TrainVocabulary
    facts: SessionFacts
    about: Mapping[str, Any]  # where it came from: path, version, splits

    @staticmethod
    def fingerprint_in(folder: Path) -> str:
        """Names the data in a folder: table version, splits, fit, and what was asked of them; "" without."""
        about = folder / _ABOUT
        return json.dumps(json.loads(about.read_text()), sort_keys=True) if about.exists() else ""

    def save(self, folder: Path) -> None:
        """Write a folder that ``load`` reads; ``about.json`` comes last and makes it whole."""
        folder.mkdir(parents=True, exist_ok=True)
        self.vocabulary.save(folder / _VOCABULARY)
        parts = {
            "train": list(self.train.values()),
            "valid": [batch.rows for batch in self.valid],
            "test": [batch.rows for batch in self.test],
        }
        for name, rows in parts.items():
            arrays = {
                f"{number}.{field}": getattr(part, field).numpy()
                for number, part in enumerate(rows)
                for field in _ARRAYS
            }
            np.savez_compressed(folder / _ROWS.format(name), **arrays)
        np.savez_compressed(folder / _FACTS, **{name: getattr(self.facts, name) for name in _FACT_ARRAYS})
        (folder / _ABOUT).write_text(json.dumps(self.about, indent=2) + "\n")

    @staticmethod
    def answers(folder: Path, data: Data, targets: Mapping[str, int]) -> bool:
        """Whether the folder holds what these settings ask for."""
        about = folder / _ABOUT
        if not about.exists():
            return False
        held = json.loads(about.read_text())
        return Data.model_validate(held["data"]) == data and held["targets"] == dict(targets)

    @classmethod
    def load(cls, folder: Path) -> "Bundle":
        """What ``save`` wrote; DataError where it is not there or was cut short."""
        if not (folder / _ABOUT).exists():
            raise DataError(f"{folder} holds no data of a grid; run the command with --prepare first")
        train = {part.item.shape[1]: part for part in _rows(folder / _ROWS.format("train"))}
        valid, test = (
            [Batch(rows, all_targets(rows)) for rows in _rows(folder / _ROWS.format(name))]
            for name in ("valid", "test")
        )
        with np.load(folder / _FACTS, allow_pickle=False) as held:
            facts = SessionFacts(**{name: held[name] for name in _FACT_ARRAYS})
        vocabulary = TrainVocabulary.load(folder / _VOCABULARY)
        return cls(train, valid, test, vocabulary, facts, json.loads((folder / _ABOUT).read_text()))


def _rows(path: Path) -> list[Rows]:
    with np.load(path, allow_pickle=False) as held:
        count = len(held.files) // len(_ARRAYS)
        return [
            Rows(**{field: torch.from_numpy(held[f"{number}.{field}"]) for field in _ARRAYS})
            for number in range(count)
        ]
