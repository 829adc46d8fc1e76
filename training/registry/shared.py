"""One vocabulary for several models, and a model as it answers in it.

Models that were fitted at different times have codes of their own. They are compared on the same
batches, in codes of what any of them knows; each translates the batches into its own codes and its scores
back. What a model does not know scores below all that it knows: it would never recommend it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features.codes import FIRST_INDEX, NO_THEME, PADDING, UNKNOWN
from training.batch import Batch, Rows, Samples
from training.codes import Codes, encode
from training.errors import DataError
from training.evaluate.ranks import Catalogue
from training.model import Loss, Model
from training.published import Publication
from training.splits import FOREVER
from training.vocabulary import TrainVocabulary

_SILVER: Final = {
    "items": "silver/items",
    "categories": "silver/categories",
    "types": "silver/event_types",
}


def shared_vocabulary(vocabularies: Sequence[TrainVocabulary]) -> TrainVocabulary:
    """Codes of all that any of the vocabularies knows; counts are the largest of theirs.

    An item's category is that of the first vocabulary that knows the item.
    """
    items = _union([one.items for one in vocabularies])
    categories = _union([one.categories for one in vocabularies])
    category = np.full(items.size, UNKNOWN, np.int32)
    for one in reversed(vocabularies):
        own = encode(one.items.lookup(), items.index)
        index = one.categories.index[one.item_category[own]]
        known = own >= FIRST_INDEX
        category[known] = encode(categories.lookup(), index)[known]
    return TrainVocabulary(
        items=items,
        categories=categories,
        types=_union([one.types for one in vocabularies]),
        item_category=category,
        themes=tuple(sorted({theme for one in vocabularies for theme in one.themes})),
        train_end=max(one.train_end for one in vocabularies),
    )


def _union(all_codes: Sequence[Codes]) -> Codes:
    counts = np.zeros(max(int(codes.index.max()) for codes in all_codes) + 1, np.int64)
    for codes in all_codes:
        own = codes.index[FIRST_INDEX:]
        counts[own] = np.maximum(counts[own], codes.count[FIRST_INDEX:])
    return Codes.of(counts, 1)


class Translated:
    """A model with its own vocabulary, asked and answering in the shared one."""

    def __init__(self, model: Model, own: TrainVocabulary, shared: TrainVocabulary) -> None:
        self.model = model
        themes = encode(own.lookups["theme"], np.array([PADDING, NO_THEME, *shared.themes], np.int32))
        self._tables = {
            "item": _tensor(encode(own.items.lookup(), shared.items.index)),
            "category": _tensor(encode(own.categories.lookup(), shared.categories.index)),
            "type": _tensor(encode(own.types.lookup(), shared.types.index)),
            "theme": _tensor(themes),
            "session_theme": _tensor(themes),
        }
        self._category = _tensor(own.item_category)

    def catalogue(self) -> Catalogue:
        """What this model can recommend, in shared codes: a target outside it is a miss."""
        known = self._tables["item"] >= FIRST_INDEX
        return Catalogue(len(known), torch.where(known, -FOREVER, FOREVER))

    def training_loss(self, batch: Batch) -> Loss:
        """Not to be had: shared codes are for comparing what is fitted."""
        raise NotImplementedError

    def score_catalogue(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, V) scores of the shared items; -inf for those the model does not know."""
        scores = self.model.score_catalogue(self._rows(rows), samples)
        return scores[:, self._tables["item"]]  # the model gives its code 1, unknown, -inf

    def score_candidates(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, 1 + C) scores of the candidates; -inf for those the model does not know."""
        assert samples.cand_item is not None
        own = self._tables["item"][samples.cand_item.long()]
        asked = replace(
            samples, cand_item=own.to(torch.int32), cand_category=self._category[own].to(torch.int32)
        )
        return self.model.score_candidates(self._rows(rows), asked).masked_fill(own < FIRST_INDEX, -torch.inf)

    def _rows(self, rows: Rows) -> Rows:
        own = {
            name: table[getattr(rows, name).long()].to(torch.int32) for name, table in self._tables.items()
        }
        return replace(rows, **own)


def _tensor(codes: NDArray[np.int32]) -> Tensor:
    return torch.from_numpy(codes.astype(np.int64))


def require_same_names(vocabulary: TrainVocabulary, publication: Publication, whose: str) -> None:
    """DataError where the publication's indices stand for other ids than they did for this vocabulary.

    Indices are given once and for good in a warehouse; one that was built anew gives its own.
    """
    for kind, table in _SILVER.items():
        codes: Codes = getattr(vocabulary, kind)
        names = publication.read(table, ["id", "index"])
        now = dict(zip(names.column("index").to_pylist(), names.column("id").to_pylist(), strict=True))
        for index, name in zip(
            codes.index[FIRST_INDEX:].tolist(), vocabulary.ids[kind][FIRST_INDEX:], strict=True
        ):
            if now.get(index) != name:
                raise DataError(
                    f"{whose} was fitted on another warehouse: there {table} called index {index} {name!r}, "
                    f"in {publication.root} it is {now.get(index)!r}; name the model's own warehouse with "
                    "--warehouse, or train anew"
                )
