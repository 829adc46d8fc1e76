"""From ``[data]`` to a pinned table, its vocabulary, its splits and the batches of each."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from features.codes import FIRST_INDEX
from features.durations import parse_duration
from training.batch import Batch
from training.errors import DataError
from training.evaluate.sessions import UNDECIDED, SessionFacts
from training.fit.config import Data
from training.fit.thin import thin
from training.gold import user_numbers
from training.source import RowSource
from training.splits import Split, Splits
from training.table import SequenceTable, open_published, open_table
from training.vocabulary import TrainVocabulary, published_vocabulary
from training.windows import WindowRule, window_rule


@dataclass(frozen=True)
class Opened:
    """The data of a run."""

    table: SequenceTable
    vocabulary: TrainVocabulary
    splits: Splits
    rule: WindowRule

    @property
    def source(self) -> RowSource:
        """Rows in a fixed order, for validation, test and counting."""
        return RowSource.of_table(self.table, self.vocabulary, self.rule)

    def held_out(self, split: Split, targets: int, tokens: int) -> list[Batch]:
        """At most ``targets`` targets of a split, in memory; DataError where it has none."""
        batches = thin(self.source.rows(split, tokens), targets, tokens)
        if not batches:
            raise DataError(
                f"{self.table.path} version {self.table.version} holds no target in the {split.name} window; "
                "set data.train_end, data.valid_end and data.test_end to times inside the data"
            )
        return batches


def session_facts(table: SequenceTable) -> SessionFacts:
    """Which sessions hop and return, as the pipeline tested it: labels for slices, never an input.

    DataError where the table is in no publication.
    """
    if table.publication is None:
        raise DataError(f"{table.path} version {table.version} is in no publication")
    rows = table.publication.read("silver/sessions", ["user_id", "ordinal", "is_hop", "is_return"])
    hop = rows.column("is_hop").cast("int8").fill_null(UNDECIDED)
    return SessionFacts.from_flags(
        user_numbers(rows.column("user_id")),
        rows.column("ordinal").to_numpy().astype(np.int64),
        hop.to_numpy(),
        rows.column("is_return").fill_null(False).to_numpy(),
    )


def open_data(data: Data, version: int | None, learned: Path | None) -> Opened:
    """The data at a version (None: the newest one) with the vocabulary in ``learned``, else a new one.

    Raises DataError or ConfigError where the table cannot be opened or does not hold what is asked.
    """
    if data.warehouse is not None and version is None:
        table = open_published(data.warehouse)
    else:
        table = open_table(data.table or f"{data.warehouse}/gold/user_sequences", version)
    publication = table.publication
    if publication is None:
        raise DataError(
            f"{table.path} version {table.version} is in no publication, so its splits, ids and themes are "
            "not known; set data.warehouse, or data.version to a published one"
        )
    fit_end = publication.fit_row()["train_end"]
    holdout = None if data.holdout is None else timedelta(microseconds=parse_duration(data.holdout))
    splits = Splits.of(
        fit_end, publication.as_of, data.train_end, data.valid_end, data.test_end, holdout=holdout
    )
    if learned is not None and learned.exists():
        vocabulary = TrainVocabulary.load(learned)
    else:
        vocabulary = published_vocabulary(
            table,
            splits.train_end,
            min_count=data.min_count,
            min_category_items=data.min_category_items,
        )
    if vocabulary.items.size <= FIRST_INDEX:
        raise DataError(
            f"no item has data.min_count = {data.min_count} events before "
            f"{datetime.fromtimestamp(splits.train_end, UTC).isoformat()}; lower it, or set a later "
            "data.train_end"
        )
    return Opened(table, vocabulary, splits, window_rule(data.max_length))
