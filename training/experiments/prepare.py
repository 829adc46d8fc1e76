"""Expand a published table into the bundle that a grid trains on."""

from dataclasses import asdict
from typing import Any

from training.batch import Rows
from training.errors import DataError
from training.experiments.bundle import Bundle
from training.fit.config import Data
from training.fit.data import Opened, open_data, session_facts
from training.fit.lineage import instant
from training.rows import concat


def prepare(data: Data, targets: dict[str, int]) -> Bundle:
    """Expand a published table; ``targets`` of valid and test at most, whole users.

    DataError where a split holds no target.
    """
    opened = open_data(data, None, None)
    source, splits = opened.source, opened.splits
    parts: dict[int, list[Rows]] = {}
    for rows in source.rows(splits.train, data.tokens, known_only=True):
        parts.setdefault(rows.item.shape[1], []).append(rows)
    if not parts:
        raise DataError(f"{opened.table.path}: no target to learn from before {instant(splits.train_end)}")
    return Bundle(
        train={length: concat(found) for length, found in sorted(parts.items())},
        valid=opened.held_out(splits.valid, targets["valid"], data.tokens),
        test=opened.held_out(splits.test, targets["test"], data.tokens),
        vocabulary=opened.vocabulary,
        facts=session_facts(opened.table),
        about=_about(opened, data, targets),
    )


def _about(opened: Opened, data: Data, targets: dict[str, int]) -> dict[str, Any]:
    return {
        "path": opened.table.path,
        "version": opened.table.version,
        "fit_id": opened.vocabulary.fit_id,
        "splits": {name: instant(seconds) for name, seconds in asdict(opened.splits).items()},
        "data": data.model_dump(mode="json", exclude_none=True),
        "targets": targets,
    }
