"""``show``: the versions of a model with their aliases and what was decided of them."""

from collections.abc import Sequence
from typing import Any, Final

import pandas as pd
from mlflow.entities.model_registry import ModelVersion

from training.evaluate.report import markdown
from training.registry.logging import AS_OF_TAG
from training.registry.promote import ROLLED_BACK
from training.registry.tracking import Tracking
from training.registry.versions import aliases, all_versions

_COLUMNS: Final = ("version", "aliases", "model", "seed", "as_of", "decision", "difference", "against")


def show(tracking: Tracking, name: str) -> tuple[str, dict[str, Any]]:
    """A table for a person, oldest version first, and the same as plain values."""
    named = aliases(tracking.client, name)
    rows = [
        _row(version, sorted(alias for alias, number in named.items() if number == int(version.version)))
        for version in all_versions(tracking.client, name)
    ]
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    table["aliases"] = [", ".join(row["aliases"]) for row in rows]
    return markdown(table), {"name": name, "versions": rows}


def _row(version: ModelVersion, named: Sequence[str]) -> dict[str, Any]:
    tags = version.tags
    decided = tags.get("promotion.decision", "–")
    if ROLLED_BACK in tags:
        decided += f", rolled back to {tags[ROLLED_BACK]}"
    return {
        "version": int(version.version),
        "aliases": list(named),
        "model": tags.get("seqloom.model", "–"),
        "seed": tags.get("seqloom.seed", "–"),
        "as_of": tags.get(AS_OF_TAG, "–"),
        "decision": decided,
        "difference": tags.get("promotion.difference", "–"),
        "against": tags.get("promotion.against", "–"),
    }
