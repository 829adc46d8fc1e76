"""The training vocabulary: compact codes for what was seen before ``train_end``, part of every model.

The pipeline's indices are permanent names for every id ever seen, so an embedding table over them
would grow with what a model was never trained on. Items seen fewer than ``min_count`` times before
``train_end`` share code 1, and so does whatever comes later.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.codes import FIRST_INDEX, MODES, NO_THEME, PADDING, UNKNOWN
from training.codes import Codes, encode
from training.counts import EventCounts, count_events
from training.errors import DataError
from training.gold import Blocks, table_blocks
from training.layers.embed import Sizes

if TYPE_CHECKING:  # serving loads vocabularies, and has no delta-rs
    from training.table import SequenceTable

MIN_CATEGORY_ITEMS: Final = 20
"""Items before ``train_end`` that make a category worth an index of its own (ULIM; our choice)."""

_FORMAT: Final = b"seqloom.vocabulary"
_KINDS: Final = ("items", "categories", "types")
_SCHEMA: Final = pa.schema(
    [
        ("kind", pa.string()),
        ("code", pa.int32()),
        ("index", pa.int32()),
        ("count", pa.int64()),
        ("category", pa.int32()),  # code of an item's category, else null
        ("id", pa.string()),  # the source's id; null for codes 0 and 1 and where none were given
    ]
)


@dataclass(frozen=True)
class TrainVocabulary:
    """Codes of items, categories and types, and how the rest is numbered."""

    items: Codes
    categories: Codes
    types: Codes
    item_category: NDArray[np.int32]  # (V,) code of the category that most of the item's events have
    themes: tuple[int, ...]  # ids, ascending, with holes after refits; a theme's code is its rank + 2
    train_end: int  # unix seconds; counts are of events before it
    fit_id: str | None = None
    ids: dict[str, tuple[str | None, ...]] = field(default_factory=dict)  # by kind, aligned with the codes

    def __post_init__(self) -> None:
        if self.item_category.shape != (self.items.size,) or self.item_category.max() >= self.categories.size:
            raise ValueError("item_category must give one category code for each item code")

    @property
    def sizes(self) -> Sizes:
        """Sizes of the embedding tables."""
        return Sizes(self.items.size, self.categories.size, self.types.size, 1 + len(MODES))

    @cached_property
    def lookups(self) -> dict[str, NDArray[np.int32]]:
        """Code by the pipeline's number, for every field of the rows that has codes of its own.

        A theme that the vocabulary does not hold, of a later fit, is no theme.
        """
        ids = np.array([PADDING, NO_THEME, *self.themes], np.int32)
        themes = Codes(ids, np.zeros(len(ids), np.int64)).lookup()
        return {
            "item": self.items.lookup(),
            "category": self.categories.lookup(),
            "type": self.types.lookup(),
            "theme": themes,
            "session_theme": themes,
        }

    def encode(self, name: str, index: NDArray[np.int32]) -> NDArray[np.int32]:
        """Codes of the pipeline's indices in a field of the rows; modes and sessions keep their numbers."""
        lookup = self.lookups.get(name)
        return index if lookup is None else encode(lookup, index)

    def save(self, path: Path) -> None:
        """Write one Parquet file."""
        rest = {"themes": self.themes, "train_end": self.train_end, "fit_id": self.fit_id}
        parts = []
        for kind in _KINDS:
            codes: Codes = getattr(self, kind)
            category = pa.array(self.item_category) if kind == "items" else pa.nulls(codes.size, pa.int32())
            ids = self.ids.get(kind, (None,) * codes.size)
            columns = [
                pa.array([kind] * codes.size),
                pa.array(np.arange(codes.size, dtype=np.int32)),
                pa.array(codes.index),
                pa.array(codes.count),
                category,
                pa.array(ids, pa.string()),
            ]
            parts.append(pa.Table.from_arrays(columns, schema=_SCHEMA))
        table = pa.concat_tables(parts).replace_schema_metadata({_FORMAT: json.dumps(rest).encode()})
        pq.write_table(table, path)

    @classmethod
    def load(cls, path: Path) -> "TrainVocabulary":
        """The vocabulary that ``save`` wrote; DataError where the file is none."""
        table = pq.read_table(path)
        rest = (table.schema.metadata or {}).get(_FORMAT)
        if rest is None or table.schema.names != _SCHEMA.names:
            raise DataError(f"{path} is no vocabulary of ours; name the file that TrainVocabulary.save wrote")
        plain: dict[str, Any] = json.loads(rest)
        codes, ids, category = {}, {}, np.zeros(0, np.int32)
        for kind in _KINDS:
            own = table.filter(pa.compute.equal(table.column("kind"), kind))
            codes[kind] = Codes(own.column("index").to_numpy(), own.column("count").to_numpy())
            names = own.column("id").to_pylist()
            if any(name is not None for name in names):
                ids[kind] = tuple(names)
            if kind == "items":
                category = own.column("category").to_numpy()
        return cls(
            codes["items"],
            codes["categories"],
            codes["types"],
            category,
            tuple(plain["themes"]),
            plain["train_end"],
            plain["fit_id"],
            ids,
        )


def learn_vocabulary(
    blocks: Blocks,
    train_end: int,
    *,
    min_count: int = 1,
    min_category_items: int = 0,
    themes: Sequence[int] | None = None,
) -> TrainVocabulary:
    """Codes from the events before ``train_end`` (unix seconds) of a table's rows.

    Items with fewer than ``min_count`` events are unknown. A category that is the main one of fewer
    than ``min_category_items`` items with a code is unknown too, which takes the place of a parent
    category: the tables hold one level. ``themes`` default to those in the rows. Memory grows
    with items, not events. DataError where no event lies before ``train_end``.
    """
    counts = count_events(blocks(), train_end)
    if not counts.items.sum():
        raise DataError(f"no event before train_end = {train_end} (unix seconds); choose a later one")
    items = Codes.of(counts.items, min_count)
    main = _main_category(counts, items)
    distinct = np.bincount(main[FIRST_INDEX:], minlength=len(counts.categories))
    large = np.where(distinct >= min_category_items, counts.categories, 0)
    large[UNKNOWN] = 0
    categories = Codes.of(large, 1)
    categories.count[UNKNOWN] = counts.categories.sum() - categories.count[FIRST_INDEX:].sum()
    return TrainVocabulary(
        items=items,
        categories=categories,
        types=Codes.of(counts.types, 1),
        item_category=encode(categories.lookup(), main),
        themes=tuple(sorted(counts.themes if themes is None else themes)),
        train_end=train_end,
    )


def published_vocabulary(
    table: "SequenceTable", train_end: int, *, min_count: int = 1, min_category_items: int = 0
) -> TrainVocabulary:
    """``learn_vocabulary`` of a published table, with the fit's themes and the source's ids.

    DataError where the table is not part of a publication.
    """
    publication = table.publication
    if publication is None:
        raise DataError(
            f"{table.path} version {table.version} is in no publication, so its ids and themes are not "
            "known; open a published version"
        )
    rows = publication.read("silver/themes", ["fit_id", "theme_id"]).to_pylist()
    themes = [row["theme_id"] for row in rows if row["fit_id"] == publication.fit_id]
    found = learn_vocabulary(
        table_blocks(table),
        train_end,
        min_count=min_count,
        min_category_items=min_category_items,
        themes=themes,
    )
    ids = {}
    for kind, silver in zip(_KINDS, ("silver/items", "silver/categories", "silver/event_types"), strict=True):
        names = publication.read(silver, ["id", "index"])
        ids[kind] = _names(getattr(found, kind), names)
    return replace(found, fit_id=publication.fit_id, ids=ids)


def _names(codes: Codes, names: pa.Table) -> tuple[str | None, ...]:
    index, name = names.column("index").to_numpy(), names.column("id").to_numpy()
    order = np.argsort(index)
    place = np.searchsorted(index[order], codes.index[FIRST_INDEX:])
    return (None, None, *name[order][place].tolist())


def _main_category(counts: EventCounts, items: Codes) -> NDArray[np.int32]:
    """For each item code the pipeline's index of its most frequent category; a known one where any."""
    by_index = counts.main_categories()
    main: NDArray[np.int32] = by_index[np.minimum(items.index, len(by_index) - 1)]
    main[:FIRST_INDEX] = UNKNOWN
    return main
