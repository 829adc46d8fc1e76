"""``due``: whether it is time to train again, by the calendar or because the data have moved on."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from features.codes import FIRST_INDEX
from training.command import say
from training.registry.logging import AS_OF_TAG
from training.registry.restore import contestant_of
from training.registry.tracking import Tracking
from training.registry.versions import champion_of, find
from training.source import RowSource
from training.splits import Split
from training.table import SequenceTable, open_published
from training.vocabulary import TrainVocabulary
from training.windows import window_rule

When = Literal["auto", "always", "never"]


@dataclass(frozen=True)
class Asked:
    """What ``due`` is asked."""

    name: str
    warehouse: str
    when: When = "auto"
    every_days: int = 7
    max_unknown: float = 0.2  # share of the last day's targets


def due(tracking: Tracking, asked: Asked) -> dict[str, Any]:
    """Whether to train, and why, as plain values.

    ``auto``: nothing serves yet; or the newest version's data end ``every_days`` or more before the
    published ones; or more than ``max_unknown`` of the targets of the published data's last day are of items
    that the champion does not know.
    """
    answer, why = _decide(tracking, asked)
    say(f"{asked.name}: training is {'due' if answer else 'not due'}: {why}")
    return {"name": asked.name, "due": answer, "why": why}


def _decide(tracking: Tracking, asked: Asked) -> tuple[bool, str]:
    client, name = tracking.client, asked.name
    if asked.when != "auto":
        return asked.when == "always", f"asked for: {asked.when}"
    champion = champion_of(client, name)
    if champion is None:
        return True, "there is no champion yet"
    table = open_published(asked.warehouse)
    assert table.publication is not None
    newest = find(client, name)
    age = table.publication.as_of - datetime.fromisoformat(newest.tags[AS_OF_TAG])
    since = f"the data of version {newest.version} end {age} before the published ones"
    if age >= timedelta(days=asked.every_days):
        return True, f"{since}, which is {asked.every_days} days or more"
    held = contestant_of(find(client, name, champion), f"v{champion}")
    unknown = unknown_share(table, held.vocabulary, held.config.data.max_length)
    told = f"champion v{champion} does not know the items of {unknown:.1%} of the last day's targets"
    if unknown > asked.max_unknown:
        return True, f"{told}, more than {asked.max_unknown:.1%}"
    return False, f"{since}, and {told}"


def unknown_share(table: SequenceTable, vocabulary: TrainVocabulary, max_length: int) -> float:
    """Share of the targets in the last day before ``as_of`` whose item has no code; 0 without targets."""
    assert table.publication is not None
    end = int(table.publication.as_of.timestamp())
    day = Split("last day", end - 86_400, end)
    source = RowSource.of_table(table, vocabulary, window_rule(max_length))
    targets = unknown = 0
    for rows in source.rows(day):
        item = rows.item[rows.loss_mask]
        targets += len(item)
        unknown += int((item < FIRST_INDEX).sum())
    return unknown / targets if targets else 0.0
