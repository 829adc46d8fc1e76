"""When to train again, on the small warehouse and its store of three versions."""

from collections.abc import Callable
from pathlib import Path

import pytest

from training.registry.due import Asked, due, unknown_share
from training.registry.register import register
from training.registry.restore import contestant_of
from training.registry.tracking import Tracking
from training.registry.versions import find
from training.table import open_published

Fit = Callable[..., Path]


def test_nothing_serves_yet(tracking: Tracking, warehouse: Path, fit: Fit) -> None:
    asked = Asked("next", str(warehouse))
    assert due(tracking, asked) == {"name": "next", "due": True, "why": "there is no champion yet"}
    register(tracking, fit(), "next")
    assert due(tracking, asked)["due"], "a version alone serves nobody"
    assert not due(tracking, Asked("next", str(warehouse), when="never"))["due"]
    assert due(tracking, Asked("next", str(warehouse), when="always"))["due"]


@pytest.mark.usefixtures("three")
def test_the_calendar_counts_from_the_newest_versions_data(tracking: Tracking, warehouse: Path) -> None:
    found = due(tracking, Asked("next", str(warehouse), max_unknown=0.99))
    assert not found["due"] and "version 3 end 0:00:00 before" in found["why"]
    client = tracking.client
    client.set_model_version_tag("next", "3", "seqloom.as_of", "1969-12-26T00:00:00+00:00")
    late = due(tracking, Asked("next", str(warehouse), max_unknown=0.99))
    assert late["due"] and "7 days or more" in late["why"]
    assert not due(tracking, Asked("next", str(warehouse), every_days=30, max_unknown=0.99))["due"]


@pytest.mark.usefixtures("three")
def test_items_that_the_champion_does_not_know_make_it_due(tracking: Tracking, warehouse: Path) -> None:
    table = open_published(str(warehouse))
    champion = contestant_of(find(tracking.client, "next", 1), "champion")
    share = unknown_share(table, champion.vocabulary, 32)
    # the oracle: targets of the published day by hand, from the table's own columns
    known, seen, unknown = set(champion.vocabulary.items.index[2:].tolist()), 0, 0
    end = int(table.publication.as_of.timestamp())
    for row in table.publication.read("gold/user_sequences").to_pylist():
        for place in (place for place in row["targets__pos"] if place >= 0):
            if end - 86_400 <= row["events__ts"][place] < end:
                seen += 1
                unknown += row["events__item"][place] not in known
    assert 0 < unknown < seen and share == pytest.approx(unknown / seen)
    assert due(tracking, Asked("next", str(warehouse), max_unknown=share - 0.01))["due"]
    assert not due(tracking, Asked("next", str(warehouse), max_unknown=share))["due"]
