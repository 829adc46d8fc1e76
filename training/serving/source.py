"""What the batch job knows of a source, as far as serving needs it: rules, and names for ids.

A bundle keeps it as ``source.json`` and three Parquet files of names.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.codes import MODE_CODES, UNKNOWN
from features.sessions import SessionRule
from features.spec import SequenceSpec
from training.serving.request import Unit

ITEMS, CATEGORIES, TYPES = "items.parquet", "categories.parquet", "event_types.parquet"
_RULES: Final = "source.json"
REJECT: Final = "reject"


@dataclass(frozen=True)
class SourceRules:
    """How the batch job reads events of this source and what it makes of them."""

    sessions: SessionRule
    spec: SequenceSpec
    ts_unit: Unit
    typed: bool  # the source gives event types
    event_types: dict[str, str]  # theirs -> mode
    unlisted: str  # mode of other types, or reject
    start: int | None  # µs; earlier events are a wrong clock's

    @property
    def untyped_mode(self) -> str:
        """The mode, and the type, of an event without a type."""
        return "browse" if self.unlisted == REJECT else self.unlisted

    def save(self, folder: Path) -> None:
        """Write ``source.json``."""
        plain = asdict(self) | {"spec": self.spec.to_json()}
        (folder / _RULES).write_text(json.dumps(plain, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The rules that ``save`` wrote."""
        plain: dict[str, Any] = json.loads((folder / _RULES).read_text())
        plain["sessions"] = SessionRule(**plain["sessions"])
        return cls(**plain | {"spec": SequenceSpec.from_json(plain["spec"])})


@dataclass(frozen=True)
class Names:
    """The pipeline's index of every id that the model or the themes know; others are unknown (1)."""

    items: dict[str, int]
    categories: dict[str, int]
    types: dict[str, int]
    item_category: NDArray[np.int32]  # main category's index by the item's, 1 where none is known

    def save(self, folder: Path) -> None:
        """Write the three files: ``id``, ``index`` and, of items, ``category``."""
        category = self.item_category[np.fromiter(self.items.values(), np.int64, len(self.items))]
        _write(folder / ITEMS, self.items, category=pa.array(category))
        _write(folder / CATEGORIES, self.categories)
        _write(folder / TYPES, self.types)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The names that ``save`` wrote."""
        items = pq.read_table(folder / ITEMS)
        index = items.column("index").to_numpy()
        main = np.full(int(index.max(initial=UNKNOWN)) + 1, UNKNOWN, np.int32)
        main[index] = items.column("category").to_numpy()
        categories, types = (ids_of(pq.read_table(folder / name)) for name in (CATEGORIES, TYPES))
        return cls(ids_of(items), categories, types, main)


def codes_of(ids: pa.Array, names: dict[str, int]) -> NDArray[np.int32]:
    """The index of each id, 1 for null and for ids without one; (N,)."""
    distinct = ids.dictionary_encode(null_encoding="encode")
    code = [names.get(name, UNKNOWN) for name in distinct.dictionary.to_pylist()]
    found: NDArray[np.int32] = np.array(code, np.int32)[distinct.indices.to_numpy()]
    return found


def mode_codes(types: pa.Array, rules: SourceRules) -> NDArray[np.int32]:
    """The mode of each type, as the batch job maps it; 0 where it refuses the type."""
    other = 0 if rules.unlisted == REJECT else MODE_CODES[rules.unlisted]
    modes = {theirs: MODE_CODES[mode] for theirs, mode in rules.event_types.items()}
    distinct = types.dictionary_encode()
    code = np.array([modes.get(theirs, other) for theirs in distinct.dictionary.to_pylist()], np.int32)
    found: NDArray[np.int32] = code[distinct.indices.to_numpy()]
    return found


def _write(path: Path, names: dict[str, int], **more: pa.Array) -> None:
    columns = {"id": pa.array(list(names), pa.string()), "index": pa.array(list(names.values()), pa.int32())}
    pq.write_table(pa.table(columns | more), path)


def ids_of(rows: pa.Table) -> dict[str, int]:
    """Id -> index of a table with the columns ``id`` and ``index``."""
    return dict(zip(rows.column("id").to_pylist(), rows.column("index").to_pylist(), strict=True))
