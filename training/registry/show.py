"""``show``: the versions of a model with their aliases and what was decided of them."""

from typing import Any

import pandas as pd

from training.evaluate.report import markdown
from training.registry.promote import ROLLED_BACK
from training.registry.tracking import Tracking
from training.registry.versions import all_versions, with_aliases


def show(tracking: Tracking, name: str) -> tuple[str, dict[str, Any]]:
    """A table for a person, oldest version first, and the same as plain values."""
    versions = [with_aliases(tracking.client, version) for version in all_versions(tracking.client, name)]
    rows = [
        _row(version.tags, sorted(version.aliases)) | {"version": int(version.version)}
        for version in versions
    ]
    heads = ["version", "aliases", "model", "seed", "data as of", "decision", "difference", "against"]
    table = pd.DataFrame([[row[head.replace(" ", "_")] for head in heads] for row in rows], columns=heads)
    table["aliases"] = [", ".join(row["aliases"]) for row in rows]
    return markdown(table), {"name": name, "versions": rows}


def _row(tags: dict[str, str], aliases: list[str]) -> dict[str, Any]:
    decided = tags.get("promotion.decision", "–")
    if ROLLED_BACK in tags:
        decided += f", rolled back to {tags[ROLLED_BACK]}"
    return {
        "aliases": aliases,
        "model": tags.get("seqloom.model", "–"),
        "seed": tags.get("seqloom.seed", "–"),
        "data_as_of": tags.get("seqloom.as_of", "–"),
        "decision": decided,
        "difference": tags.get("promotion.difference", "–"),
        "against": tags.get("promotion.against", "–"),
    }
