"""Models side by side on the newest held-out window of a warehouse's current publication."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import pandas as pd

from features.codes import FIRST_INDEX
from training.batch import Batch
from training.command import say
from training.errors import DataError
from training.evaluate.candidates import Negatives
from training.evaluate.compare import KEY
from training.evaluate.run import Summary, evaluate
from training.evaluate.run_candidates import score_candidates
from training.evaluate.sessions import SessionFacts
from training.fit.config import Config
from training.fit.data import session_facts
from training.fit.lineage import instant
from training.fit.measure import negatives_for
from training.fit.models import is_click
from training.fit.thin import thin
from training.model import as_model
from training.registry.card import metric_of
from training.registry.restore import Contestant
from training.registry.shared import Translated, require_same_names, shared_vocabulary
from training.source import RowSource
from training.splits import Split
from training.table import SequenceTable, open_published
from training.vocabulary import TrainVocabulary
from training.windows import window_rule

TARGETS: Final = 20_000
"""Targets to compare on, where nothing else is said: whole users."""

_DEVICE: Final = "cpu"


@dataclass(frozen=True)
class Window:
    """Targets that no contestant has learned from or been chosen by."""

    publication: int
    as_of: datetime
    table_version: int
    split: Split

    @property
    def start(self) -> str:
        """ISO 8601, inclusive."""
        return instant(self.split.start)

    @property
    def end(self) -> str:
        """ISO 8601, exclusive."""
        return instant(self.split.end)


@dataclass(frozen=True)
class Answers:
    """What one contestant made of the window's targets."""

    label: str
    frame: pd.DataFrame  # as in ``Evaluation``; ``item`` in shared codes, ``place`` a number within its tie
    summary: Summary


def open_window(warehouse: str, contestants: Sequence[Contestant]) -> tuple[SequenceTable, Window]:
    """The table that the warehouse publishes now, and the window of it that is new to all contestants.

    It begins where the last of them stopped choosing its weights (``valid_end``), or where the
    publication's own fit stopped learning themes and vectors, if that is later; it ends at ``as_of``.
    DataError where a contestant was fitted on another warehouse, or nothing lies in the window.
    """
    table = open_published(warehouse)
    publication = table.publication
    assert publication is not None
    for one in contestants:
        require_same_names(one.vocabulary, publication, one.label)
    chosen = [instant_of(one.origin["splits"]["valid_end"]) for one in contestants]
    start = max(*chosen, int(publication.fit_row()["train_end"].timestamp()))
    end = int(publication.as_of.timestamp()) + 1  # nothing at or after as_of is in the table
    if start >= end:
        raise DataError(
            f"{warehouse}: publication {publication.number} ends at {instant(end)}, but models have learned "
            f"or been chosen up to {instant(start)}; build newer events first"
        )
    window = Window(publication.number, publication.as_of, table.version, Split("newest", start, end))
    return table, window


def instant_of(text: str) -> int:
    """Unix seconds of an ISO 8601 time."""
    return int(datetime.fromisoformat(text).timestamp())


def ask(
    table: SequenceTable, window: Window, contestants: Sequence[Contestant], targets: int
) -> list[Answers]:
    """Every contestant on the same targets, at most ``targets`` of whole users; the frames pair up.

    Each reads rows as it was fitted to (``max_length``). Where one of them ranks candidates only, all are
    measured by drawn ones. DataError where the window holds no target.
    """
    shared = shared_vocabulary([one.vocabulary for one in contestants])
    negatives, facts = _negatives(contestants, shared), session_facts(table)
    held: dict[int, list[Batch]] = {}
    found = []
    for one in contestants:
        length, tokens = one.config.data.max_length, one.config.data.tokens
        if length not in held:
            say(f"reading targets from {window.start} to {window.end}, rows of {length} events …")
            source = RowSource.of_table(table, shared, window_rule(length))
            held[length] = thin(source.rows(window.split, tokens), targets, tokens)
        if not any(_askable(batch, negatives is not None) for batch in held[length]):
            raise DataError(
                f"{table.path} version {table.version} holds no target from {window.start} to {window.end}"
                + (" that any of the models knows" if negatives else "")
                + "; build newer events first"
            )
        say(f"asking {one.label} …")
        model = Translated(as_model(one.model), one.vocabulary, shared)
        found.append(_answers(one.label, model, held[length], facts, negatives))
    return found


def _askable(batch: Batch, known_only: bool) -> bool:
    """Whether a batch holds a target, of what some model knows where candidates are drawn."""
    rows = batch.rows
    return bool((rows.loss_mask & (rows.item >= FIRST_INDEX) if known_only else rows.loss_mask).any())


def deciding(configs: Sequence[Config]) -> str:
    """What decides between models: what the first was chosen by, or auc where one ranks candidates."""
    return "auc" if any(is_click(config.model) for config in configs) else metric_of(configs[0])


def _negatives(contestants: Sequence[Contestant], shared: TrainVocabulary) -> Negatives | None:
    """The candidates of the first model that ranks candidates only, drawn from what any model knows."""
    clicks = [one.config for one in contestants if is_click(one.config.model)]
    return negatives_for(clicks[0], shared) if clicks else None


def _answers(
    label: str, model: Translated, batches: Sequence[Batch], facts: SessionFacts, negatives: Negatives | None
) -> Answers:
    if negatives is None:
        ranked = evaluate(model, batches, _DEVICE, facts, catalogue=model.catalogue())
        return Answers(label, _paired(ranked.frame), ranked.summary)
    scored = score_candidates(model, batches, _DEVICE, negatives, facts)
    return Answers(label, _paired(scored.frame), scored.summary())


def _paired(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with keys that do not depend on how long a model's rows are.

    A target's place is one in a window of its row, and windows differ with the length. Targets of one row
    and time see the same events, so that those of one item are told apart by a number alone.
    """
    same = [name for name in KEY if name != "place"]
    frame = frame.sort_values(same, kind="stable", ignore_index=True)
    return frame.assign(place=frame.groupby(same).cumcount())
