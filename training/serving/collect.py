"""What a bundle takes from the warehouse: the source's rules, names and themes, as published.

The only part of serving that reads Delta tables; a consumer of the bundle never imports it.
"""

from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from features.codes import FIRST_INDEX, UNKNOWN
from features.instants import UNIT_US
from features.sessions import SessionRule
from features.tags import Themes
from features.vectors import stored_vectors
from training.counts import count_events
from training.errors import DataError
from training.fit.run_folder import RunFolder
from training.gold import table_blocks
from training.published import Publication, publication_numbered
from training.serving.source import Names, SourceRules, ids_of
from training.splits import FOREVER
from training.table import SequenceTable, open_table
from training.vocabulary import TrainVocabulary


class Collected(NamedTuple):
    """What raw events need on their way to rows."""

    source: SourceRules
    names: Names
    themes: Themes
    lineage: dict[str, Any]  # of the run


def collect(run: RunFolder, vocabulary: TrainVocabulary) -> Collected:
    """All of it, of the publication that a run trained on; reads its sequence table once.

    DataError where the run or the publication does not say what is needed.
    """
    lineage = run.read("run.json") or {}
    traced = lineage.get("table", {})
    if traced.get("publication") is None:
        raise DataError(
            f"{run.root}: run.json names no publication, so the source's rules are not known; serve the "
            "output of python -m training.fit on a published table"
        )
    table = open_table(traced["path"], traced["version"])
    assert table.publication is not None
    published = publication_numbered(table.publication.root, traced["publication"])
    vectors = _of_fit(published, "silver/item_vectors", ["fit_id", "kind", "index", "vector"])
    return Collected(
        _rules(published),
        _names(published, table, vocabulary, vectors),
        _themes(published, vectors),
        lineage,
    )


def _rules(published: Publication) -> SourceRules:
    settings = published.settings
    if not {"sessions", "source"} <= settings.keys():
        raise DataError(
            f"{published.root}: publication {published.number} does not say how its source is read; "
            "publish again with jobs/build_sequences.py"
        )
    sessions, source = settings["sessions"], settings["source"]
    start = source["window"]["start"]
    return SourceRules(
        sessions=SessionRule.parse(sessions["rule"], sessions["gap"], sessions["max"], sessions["every_n"]),
        spec=published.spec,
        ts_unit=source["ts_unit"],
        typed=source["columns"]["event_type"] is not None,
        event_types=source["event_types"],
        unlisted=source["unlisted_event_type"],
        start=None if start is None else round(datetime.fromisoformat(start).timestamp() * UNIT_US["s"]),
    )


def _names(
    published: Publication, table: SequenceTable, vocabulary: TrainVocabulary, vectors: pa.Table
) -> Names:
    """Every category and type, and the items that the model or the themes know.

    Where a side table brings categories, all items: a request has no category to say what a new one is.
    """
    items = published.read("silver/items", ["id", "index"])
    index = items.column("index").to_numpy()
    main = count_events(table_blocks(table)(), FOREVER).main_categories()
    known = np.ones(len(index), dtype=bool)
    if published.settings["items"] is None:
        own = vectors.filter(pa.compute.equal(vectors.column("kind"), "item")).column("index").to_numpy()
        known = np.isin(index, np.union1d(own, vocabulary.items.index[FIRST_INDEX:]))
    category = np.full(int(index.max(initial=UNKNOWN)) + 1, UNKNOWN, np.int32)
    category[: len(main)] = main[: len(category)]
    return Names(
        ids_of(items.filter(pa.array(known))),
        ids_of(published.read("silver/categories", ["id", "index"])),
        ids_of(published.read("silver/event_types", ["id", "index"])),
        category,
    )


def _themes(published: Publication, vectors: pa.Table) -> Themes:
    dim = int(published.fit_row()["dimensions"])
    rows = _of_fit(published, "silver/themes", ["fit_id", "theme_id", "centroid"])
    themes = sorted(rows.to_pylist(), key=lambda row: int(row["theme_id"]))
    return Themes(
        stored_vectors(vectors, dim),
        np.array([row["centroid"] for row in themes], dtype=np.float64).reshape(-1, dim),
        np.array([row["theme_id"] for row in themes], dtype=np.int32),
    )


def _of_fit(published: Publication, table: str, columns: list[str]) -> pa.Table:
    rows = published.read(table, columns)
    return rows.filter(pa.compute.equal(rows.column("fit_id"), published.fit_id))
