"""The loader: every row of every epoch, whatever reads; shuffled by seed, sharded evenly, resumable."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from petastorm.workers_pool.ventilator import ConcurrentVentilator

from tests.training.gold import SPEC, gold_rows, random_users, write_gold
from training import pools
from training.batch import Batch
from training.batchers import category_groups, token_batches
from training.errors import ConfigError
from training.gold import table_blocks
from training.groups import GroupRule
from training.loader import Loader, LoaderConfig
from training.pools import PoolKind
from training.prefetch import Prefetch
from training.reading import RowsLostError, read_epoch
from training.source import RowSource
from training.splits import FOREVER, Split
from training.table import SequenceTable, open_table
from training.vocabulary import TrainVocabulary, learn_vocabulary

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:petastorm")

TRAIN = Split("train", -FOREVER, 120)
Key = tuple[int, int]  # a training row: the gold row and the time of its first event


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> SequenceTable:
    """Files of two rows: buckets with many files, and with few."""
    path = tmp_path_factory.mktemp("gold") / "table"
    write_gold(path, gold_rows(random_users(21, 40, 160)), file_rows=2)
    return open_table(str(path), spec=SPEC)


@pytest.fixture(scope="module")
def vocabulary(table: SequenceTable) -> TrainVocabulary:
    return learn_vocabulary(table_blocks(table), TRAIN.end)


def loader(table: SequenceTable, vocabulary: TrainVocabulary, **config: object) -> Loader:
    batches = token_batches(vocabulary, tokens=1024, negatives=20, pool_rows=40)
    return Loader(table, vocabulary, TRAIN, batches=batches, config=LoaderConfig(**config))  # type: ignore[arg-type]


def keys(batches: list[Batch]) -> Counter[Key]:
    return Counter(
        (row, ts)
        for batch in batches
        for row, ts in zip(batch.rows.row_id.tolist(), batch.rows.ts[:, 0].tolist(), strict=True)
    )


def expected(table: SequenceTable, vocabulary: TrainVocabulary) -> Counter[Key]:
    return keys(list(RowSource.of_table(table, vocabulary).batches(TRAIN, known_only=True)))


def same(left: Batch, right: Batch) -> bool:
    """Bit for bit, all that the batches hold."""
    for part in fields(Batch):
        one, other = getattr(left, part.name), getattr(right, part.name)
        if (one is None) != (other is None):
            return False
        for field in fields(one) if one is not None else ():
            a, b = getattr(one, field.name), getattr(other, field.name)
            if (a is None) != (b is None) or (a is not None and not torch.equal(a, b)):
                return False
    return True


@pytest.mark.parametrize(("pool", "workers"), [("dummy", 1), ("thread", 1), ("thread", 3)])
def test_every_epoch_has_every_row_once(
    table: SequenceTable, vocabulary: TrainVocabulary, pool: PoolKind, workers: int
) -> None:
    rows = expected(table, vocabulary)
    assert set(rows.values()) == {1} and len(rows) > 40
    found = loader(table, vocabulary, pool=pool, workers=workers)
    for epoch in range(4):
        assert found.epoch == epoch
        assert keys(list(found)) == rows


@pytest.mark.slow
@pytest.mark.parametrize(("pool", "workers"), [("dummy", 1), ("thread", 1), ("thread", 4)])
def test_a_hundred_epochs_lose_nothing(
    table: SequenceTable, vocabulary: TrainVocabulary, pool: PoolKind, workers: int
) -> None:
    rows = expected(table, vocabulary)
    found = loader(table, vocabulary, pool=pool, workers=workers)
    assert all(keys(list(found)) == rows for _ in range(100))


def test_what_reads_changes_no_batch(table: SequenceTable, vocabulary: TrainVocabulary) -> None:
    one = list(loader(table, vocabulary))
    other = list(loader(table, vocabulary, pool="thread", workers=4, ahead=1))
    assert all(same(a, b) for a, b in zip(one, other, strict=True))


def test_an_epoch_is_shuffled_anew(table: SequenceTable, vocabulary: TrainVocabulary) -> None:
    found = loader(table, vocabulary)
    first, second = ([batch.rows.row_id.tolist() for batch in found] for _ in range(2))
    again = [batch.rows.row_id.tolist() for batch in loader(table, vocabulary)]
    other = [batch.rows.row_id.tolist() for batch in loader(table, vocabulary, seed=18)]
    assert first == again != second
    assert first != other
    assert {frozenset(rows) for rows in first} != {frozenset(rows) for rows in second}, "batches are new ones"


def test_row_groups_come_in_another_order_each_epoch(table: SequenceTable) -> None:
    orders = [
        [int(block.row_id[0]) for block in read_epoch(table.files, SPEC, seed, "dummy", 1)]
        for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


@pytest.mark.parametrize("place", [0, 7, 10_000])
def test_resuming_gives_the_batches_that_were_left(
    table: SequenceTable, vocabulary: TrainVocabulary, place: int
) -> None:
    """In the first or the second epoch, from a state taken while batches ahead were already made."""
    whole = loader(table, vocabulary, ahead=4)
    for _ in range(2):
        epoch = list(whole)
        at = min(place, len(epoch))
        stopped = loader(table, vocabulary, ahead=4)
        stopped.load_state_dict({**whole.state_dict(), "epoch": whole.epoch - 1})
        reading = iter(stopped)
        before = [next(reading) for _ in range(at)]
        state = stopped.state_dict()
        reading.close()  # type: ignore[attr-defined]

        resumed = loader(table, vocabulary, pool="thread", workers=2)
        resumed.load_state_dict(state)
        assert all(same(a, b) for a, b in zip(epoch, [*before, *resumed], strict=True))
        assert resumed.epoch == whole.epoch
        assert same(next(iter(resumed)), next(iter(_at(loader(table, vocabulary), whole.epoch))))


def _at(found: Loader, epoch: int) -> Loader:
    found.load_state_dict({**found.state_dict(), "epoch": epoch})
    return found


def test_leaving_an_epoch_early_goes_on_where_it_was(
    table: SequenceTable, vocabulary: TrainVocabulary
) -> None:
    threads = threading.active_count()
    found, whole = loader(table, vocabulary), list(loader(table, vocabulary))
    before = []
    for batch in found:
        before.append(batch)
        if len(before) == 3:
            break
    deadline = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == threads, "nothing goes on in the background"
    assert all(same(a, b) for a, b in zip(whole, [*before, *found], strict=True))


def test_a_place_in_other_data_is_refused(table: SequenceTable, vocabulary: TrainVocabulary) -> None:
    state = loader(table, vocabulary).state_dict()
    with pytest.raises(ConfigError, match="belongs to another seed"):
        loader(table, vocabulary, seed=1).load_state_dict(state)
    with pytest.raises(ConfigError, match="belongs to another rank, world"):
        loader(table, vocabulary, world=2, rank=1).load_state_dict(state)


@pytest.mark.parametrize("world", [2, 3, 5])
@pytest.mark.parametrize("grouped", [False, True])
def test_ranks_take_equal_steps_and_share_the_rows(
    table: SequenceTable, vocabulary: TrainVocabulary, world: int, grouped: bool
) -> None:
    """Repeats fill ranks up, so some rows come twice, on the same rank; none is on two ranks or missing."""
    batches = token_batches(vocabulary, tokens=512, negatives=0, pool_rows=20)
    if grouped:
        batches = category_groups(vocabulary, GroupRule(4, 4, 8, 4, 20), negatives=0)
    epochs = [
        list(Loader(table, vocabulary, TRAIN, batches=batches, config=LoaderConfig(rank=rank, world=world)))
        for rank in range(world)
    ]
    assert len({len(epoch) for epoch in epochs}) == 1
    found = [set(keys(epoch)) for epoch in epochs]
    assert set.union(*found) == set(expected(table, vocabulary))
    assert sum(map(len, found)) == len(expected(table, vocabulary))
    assert min(map(len, found)) > len(expected(table, vocabulary)) / world / 3


def test_buckets_of_many_files_are_dealt_out_and_others_striped(table: SequenceTable) -> None:
    from training.sharding import shards

    parts = shards(table, 2)
    assert 0 < len(parts[0].striped) < len(table.buckets)
    for bucket in table.buckets:
        one, other = ({file.uri for file in part.files if file.bucket == bucket} for part in parts)
        assert one | other == {file.uri for file in table.in_bucket(bucket)}
        assert one == other if bucket in parts[0].striped else not one & other


def test_too_many_ranks_are_refused(tmp_path: Path) -> None:
    write_gold(tmp_path / "t", gold_rows({"u": random_users(1, 1, 40)["u00"]}))
    table = open_table(str(tmp_path / "t"), spec=SPEC)
    vocabulary = learn_vocabulary(table_blocks(table), FOREVER)
    found = [loader(table, vocabulary, rank=rank, world=9) for rank in range(9)]
    with pytest.raises(ConfigError, match="fewer devices"):
        next(iter(found[0]))


def test_a_grouped_epoch_has_every_target_once(table: SequenceTable, vocabulary: TrainVocabulary) -> None:
    batches = category_groups(vocabulary, GroupRule(4, 4, 8, 4, 30), negatives=11)
    seen: Counter[tuple[int, int, int]] = Counter()
    for batch in Loader(table, vocabulary, TRAIN, batches=batches):
        assert batch.groups is not None and batch.samples is not None and batch.shared is not None
        for n in batch.groups.mask.nonzero()[:, 0].tolist():
            row = int(batch.samples.row[n])
            seen[int(batch.rows.row_id[row]), int(batch.rows.ts[row, 0]), int(batch.samples.place[n])] += 1
    wanted = Counter(
        (int(rows.row_id[row]), int(rows.ts[row, 0]), place)
        for rows in RowSource.of_table(table, vocabulary).rows(TRAIN, known_only=True)
        for row, place in rows.loss_mask.nonzero().tolist()
    )
    assert seen == wanted


def test_targets_outside_the_split_or_unknown_are_not_learned(
    table: SequenceTable, vocabulary: TrainVocabulary
) -> None:
    for batch in loader(table, vocabulary):
        rows = batch.rows
        assert (rows.ts[rows.loss_mask] < TRAIN.end).all()
        assert (rows.item[rows.loss_mask] >= 2).all()


def test_rows_that_are_gone_are_noticed(tmp_path: Path) -> None:
    write_gold(tmp_path / "t", gold_rows(random_users(3)), file_rows=4)
    table = open_table(str(tmp_path / "t"), spec=SPEC)
    vocabulary = learn_vocabulary(table_blocks(table), FOREVER)
    rows = pq.read_table(table.files[2].uri, partitioning=None)
    pq.write_table(rows.slice(1), table.files[2].uri)
    with pytest.raises(RowsLostError, match=r"missed rows by the Delta log.*: 1"):
        list(loader(table, vocabulary))


@pytest.mark.parametrize("ours", [True, False])
def test_what_is_handed_out_last_is_not_lost(
    table: SequenceTable, monkeypatch: pytest.MonkeyPatch, ours: bool
) -> None:
    """Petastorm asks "all done?" and then "all handed out?"; here the rest is handed out in between."""
    if not ours:
        for name in ("ventilate", "get_results"):
            monkeypatch.setattr(pools._ThreadPool, name, getattr(pools.ThreadPool, name))
    completed, asked = ConcurrentVentilator.completed, threading.Event()

    def late(self: ConcurrentVentilator) -> bool:
        if threading.current_thread() is self._ventilation_thread:
            asked.wait(10)
        else:
            asked.set()
            self._ventilation_thread.join(10)
        return bool(completed(self))

    monkeypatch.setattr(ConcurrentVentilator, "completed", late)
    files = table.files[:3]
    if ours:
        assert sum(len(block) for block in read_epoch(files, SPEC, 1, "thread", 2)) == 6
    else:
        with pytest.raises(RowsLostError):
            list(read_epoch(files, SPEC, 1, "thread", 2))


def test_a_pool_that_ends_early_is_noticed(table: SequenceTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Petastorm's own thread pool does now and then: what is handed out last is forgotten."""

    ventilate = pools._ThreadPool.ventilate

    def forgetful(self: pools._ThreadPool, *args: object, **kwargs: object) -> None:
        if len(self._asked) < 5:
            ventilate(self, *args, **kwargs)

    monkeypatch.setattr(pools._ThreadPool, "ventilate", forgetful)
    with pytest.raises(RowsLostError):
        list(read_epoch(table.files, SPEC, 1, "thread", 2))


def test_results_out_of_order_are_put_in_order(table: SequenceTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some workers are slow; without the order, four of them would give another one nearly every time."""
    before = [int(block.row_id[0]) for block in read_epoch(table.files, SPEC, 5, "dummy", 1)]
    process = pools.TableWorker.process

    def slow(self: pools.TableWorker, piece_index: int, *args: object, **kwargs: object) -> None:
        time.sleep(0.02 * (piece_index % 3 == 0))
        process(self, piece_index, *args, **kwargs)

    monkeypatch.setattr(pools.TableWorker, "process", slow)
    after = [int(block.row_id[0]) for block in read_epoch(table.files, SPEC, 5, "thread", 4)]
    assert after == before


def test_an_unknown_pool_is_named(table: SequenceTable) -> None:
    with pytest.raises(ValueError, match="dummy, thread"):
        list(read_epoch(table.files, SPEC, 1, "process", 2))  # type: ignore[arg-type]


def test_a_path_that_petastorm_would_cut_is_refused(tmp_path: Path) -> None:
    from training.errors import DataError

    write_gold(tmp_path / "a#b", gold_rows(random_users(3, 2)))
    with pytest.raises(DataError, match="hold # or"):
        list(read_epoch(open_table(str(tmp_path / "a#b"), spec=SPEC).files, SPEC, 1, "dummy", 1))


def test_waiting_is_counted() -> None:
    def slow() -> Iterator[int]:
        for n in range(5):
            time.sleep(0.04)
            yield n

    ahead = Prefetch(slow, 2)
    assert list(ahead) == [0, 1, 2, 3, 4]
    assert 0.15 < ahead.wait_seconds < 1
    ahead = Prefetch(slow, 2)
    for _ in ahead:
        time.sleep(0.08)
    assert ahead.wait_seconds < 0.15


def test_an_error_in_the_background_is_raised_in_front() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("disk gone")

    reading = iter(Prefetch(broken, 2))
    assert next(reading) == 1
    with pytest.raises(OSError, match="disk gone"):
        next(reading)


def test_mixing_keeps_every_row_and_mixes_lengths(table: SequenceTable) -> None:
    from training.shuffling import mixed

    found = list(mixed(table_blocks(table)(), 2, 8, np.random.default_rng(1)))
    rows = [int(row) for block in found for row in block.row_id]
    assert sorted(rows) == sorted(int(row) for block in table_blocks(table)() for row in block.row_id)
    assert len(rows) == table.rows
    assert max(len(block) for block in found) == 2
    changes = sum(a.bucket != b.bucket for a, b in pairwise(found))
    assert changes > len(table.buckets) + 2
