"""The training vocabulary: counts before train_end by brute force, codes, and the file."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.features.tagged import histories as drawn_histories
from tests.features.tagged import small_spec
from tests.oracles.strands import Event
from tests.training.gold import SPEC, gold_rows, publish, random_users, write_gold
from training.codes import Codes
from training.counts import count_events
from training.errors import DataError
from training.gold import arrow_blocks
from training.splits import FOREVER
from training.table import open_published
from training.vocabulary import TrainVocabulary, learn_vocabulary, published_vocabulary


def seen(users: dict[str, list[Event]], before: int) -> list[Event]:
    return [event for events in users.values() for event in events if event.ts // 1_000_000 < before]


@given(st.lists(drawn_histories(30), min_size=1, max_size=3), st.integers(1, 20), st.integers(1, 9))
def test_every_event_before_train_end_counts_once(rows: list[list[Event]], before: int, targets: int) -> None:
    """Whatever the chunks; ``recent`` holds every run of equal times here."""
    users = {f"u{at}": events for at, events in enumerate(rows)}
    spec = small_spec(recent=31, targets=targets)
    counts = count_events(arrow_blocks(gold_rows(users, spec), spec)(), before)
    events = seen(users, before)
    for name, found in (("item", counts.items), ("category", counts.categories)):
        expected = Counter(getattr(event, name) for event in events)
        assert {index: n for index, n in enumerate(found.tolist()) if n} == expected
    pairs = zip(*(column.tolist() for column in counts.pairs), strict=True)
    assert {(item, category): n for item, category, n in pairs} == Counter(
        (event.item, event.category) for event in events
    )


def vocabulary(**kwargs: int) -> tuple[TrainVocabulary, list[Event]]:
    users = random_users(5, 30)
    rows = arrow_blocks(gold_rows(users), SPEC)
    return learn_vocabulary(rows, 60, **kwargs), seen(users, 60)


def test_codes_go_by_count_and_rare_items_are_unknown() -> None:
    found, events = vocabulary(min_count=5)
    counts = Counter(event.item for event in events)
    kept = sorted((item for item, n in counts.items() if n >= 5), key=lambda item: (-counts[item], item))
    assert found.items.index.tolist() == [0, 1, *kept]
    assert found.items.count[2:].tolist() == [counts[item] for item in kept]
    assert found.items.count[1] == sum(n for item, n in counts.items() if n < 5)
    assert found.encode("item", np.array([[0, 1, kept[3], 10**6]], np.int32)).tolist() == [[0, 1, 5, 1]]
    assert found.sizes.items == len(kept) + 2


def test_an_item_has_its_most_frequent_category() -> None:
    found, events = vocabulary()
    pairs = Counter((event.item, event.category) for event in events)
    for code, item in enumerate(found.items.index.tolist()):
        if code < 2:
            assert found.item_category[code] == 1
            continue
        own = {category: n for (which, category), n in pairs.items() if which == item}
        named = {category: n for category, n in own.items() if category >= 2} or own
        main = min(named, key=lambda category: (-named[category], category))
        assert found.categories.index[found.item_category[code]] == main


def test_a_small_category_is_unknown() -> None:
    found, _ = vocabulary(min_category_items=8)
    every, events = vocabulary()
    sizes = Counter(every.categories.index[every.item_category[2:]].tolist())
    large = {category for category, n in sizes.items() if n >= 8 and category >= 2}
    assert large and large < set(every.categories.index[2:].tolist())
    assert set(found.categories.index[2:].tolist()) == large
    assert found.categories.count.sum() == len(events)
    small = ~np.isin(every.categories.index[every.item_category], list(large))
    assert (found.item_category[small] == 1).all()


def test_nothing_after_train_end_matters() -> None:
    users = random_users(6)
    changed = {
        user: [event if event.ts < 60_000_000 else event._replace(item=300, category=33) for event in events]
        for user, events in users.items()
    }
    one, other = (learn_vocabulary(arrow_blocks(gold_rows(rows), SPEC), 60) for rows in (users, changed))
    for kind in ("items", "categories", "types"):
        assert getattr(one, kind).index.tolist() == getattr(other, kind).index.tolist()
        assert getattr(one, kind).count.tolist() == getattr(other, kind).count.tolist()
    assert one.item_category.tolist() == other.item_category.tolist()


def test_the_file_holds_all_of_it(tmp_path: Path) -> None:
    found, _ = vocabulary(min_count=2)
    found = replace(found, fit_id="f", ids={"items": (None, None, *map(str, found.items.index[2:]))})
    found.save(tmp_path / "vocabulary.parquet")
    back = TrainVocabulary.load(tmp_path / "vocabulary.parquet")
    assert (back.themes, back.train_end, back.fit_id, back.ids) == (
        found.themes,
        found.train_end,
        "f",
        found.ids,
    )
    for kind in ("items", "categories", "types"):
        assert getattr(back, kind).index.tolist() == getattr(found, kind).index.tolist()
        assert getattr(back, kind).count.tolist() == getattr(found, kind).count.tolist()
    assert back.item_category.tolist() == found.item_category.tolist()
    pa.parquet.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="is no vocabulary of ours"):
        TrainVocabulary.load(tmp_path / "other.parquet")


def test_a_published_table_brings_themes_and_ids(tmp_path: Path) -> None:
    rows = gold_rows(random_users(7))
    publish(tmp_path, write_gold(tmp_path / "gold/user_sequences", rows))
    found = published_vocabulary(open_published(str(tmp_path)), 60)
    assert found.themes == tuple(range(2, 31))
    assert found.fit_id == "f1"
    assert found.ids["items"] == (None, None, *(f"i{index}" for index in found.items.index[2:]))
    with pytest.raises(DataError, match="in no publication"):
        published_vocabulary(replace(open_published(str(tmp_path)), publication=None), 60)


def test_themes_are_numbered_without_the_holes_that_refits_leave(tmp_path: Path) -> None:
    found, _ = vocabulary()
    found = replace(found, themes=(2, 5, 9))
    for name in ("theme", "session_theme"):
        codes = found.encode(name, np.array([0, 1, 2, 3, 5, 8, 9, 10, 400], np.int32))
        assert codes.tolist() == [0, 1, 2, 1, 3, 1, 4, 1, 1]  # 3, 8 and those of a later fit are no theme
    assert found.encode("session", np.array([7, 3], np.int32)).tolist() == [7, 3]
    found.save(tmp_path / "vocabulary.parquet")
    assert TrainVocabulary.load(tmp_path / "vocabulary.parquet").themes == (2, 5, 9)
    assert replace(found, themes=()).encode("theme", np.array([0, 1, 2], np.int32)).tolist() == [0, 1, 1]


def test_no_events_is_an_error() -> None:
    with pytest.raises(DataError, match="no event before train_end"):
        learn_vocabulary(arrow_blocks(gold_rows(random_users(1)), SPEC), -FOREVER)


def test_codes_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="stand for themselves"):
        Codes(np.array([0, 2], np.int32), np.array([0, 0]))
    with pytest.raises(ValueError, match="two codes"):
        Codes(np.array([0, 1, 3, 3], np.int32), np.zeros(4, np.int64))
